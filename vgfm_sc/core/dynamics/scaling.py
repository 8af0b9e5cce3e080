"""Between the user's units and the unitless ones that training sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from vgfm_sc.core.dynamics import clock

MANY_AXES = 100
"""Above so many axes, only those that stand out of the noise are trained on: representations made to be used whole,
as principal components are, have fewer; gene space has more."""

RANK_TOL = 1e-6
"""Singular values below this share of the largest are rounding: the square root of what eigenvalues can tell."""

BLOCK_NUMBERS = 2**24
"""Coordinates centred at once, so that no second copy of the cells is held."""


class Scaling(NamedTuple):
    """One centre and one length for all axes, so that directions and relative distances stay as they are.

    ``centre``: mean of all cells, shape ``(d,)``. ``length``: root mean variance per trained axis. ``time_middle``:
    middle of the time course. ``time_unit``: mean interval between time points. ``axes``: orthonormal, shape
    ``(q, d)``, those trained on; `None` for all. ``ticks``: time points and their ticks, shape ``(2, k)``, where the
    clock is not time (see `vgfm_sc.core.dynamics.clock`); else `None`.
    """

    centre: np.ndarray
    length: float
    time_middle: float
    time_unit: float
    axes: np.ndarray | None = None
    ticks: np.ndarray | None = None

    @classmethod
    def of(cls, x: np.ndarray, time_points: np.ndarray) -> Scaling:
        """The scaling of cells ``x``, shape ``(n, d)``, sampled at ``time_points``."""
        first, last = float(time_points[0]), float(time_points[-1])
        centre = x.mean(axis=0)
        largest = float(np.abs(x).max())  # squares of very large or small numbers leave the float range
        if x.shape[1] > MANY_AXES:
            axes, variance = signal_axes(x / largest, centre / largest)
        else:
            axes, variance = None, (x / largest).var(axis=0)
        length = largest * float(np.sqrt(variance.mean()))
        unit = (last - first) / (len(time_points) - 1)
        return cls(centre, length, (first + last) / 2, unit, axes, clock.ticks(np.asarray(time_points, dtype=float)))

    @property
    def n_axes(self) -> int:
        """Dimensions of the unitless positions."""
        return len(self.centre if self.axes is None else self.axes)

    def to_unitless(self, x: np.ndarray) -> np.ndarray:
        """Positions, shape ``(n, d)``, to unitless ones, shape ``(n, n_axes)``."""
        from_centre = x - self.centre
        return (from_centre if self.axes is None else from_centre @ self.axes.T) / self.length

    def to_unitless_time(self, t):
        """Times to unitless ones: 0 in the middle, 1 for a mean interval."""
        return (t - self.time_middle) / self.time_unit if self.ticks is None else clock.read(self.ticks, t)

    def time_unit_at(self, t: np.ndarray) -> np.ndarray:
        """The user's time that passes in a unit of unitless time, at times ``t``."""
        return np.full(np.shape(t), self.time_unit) if self.ticks is None else 1 / clock.rate(self.ticks, t)

    def wander(self, sigma: float, time_points: np.ndarray) -> np.ndarray:
        """Unitless standard deviation of Brownian motion over each interval, shape ``(k - 1,)``.

        ``sigma`` is that per axis and per square root of unit time, in the user's units.
        """
        return sigma * np.sqrt(np.diff(time_points)) / self.length

    def displacement(self, unitless: np.ndarray) -> np.ndarray:
        """Unitless displacements, shape ``(..., n_axes)``, to the user's, shape ``(..., d)``."""
        return (unitless if self.axes is None else unitless @ self.axes) * self.length


def signal_axes(x: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes of ``x``, shape ``(n, d)``, that stand out of white noise, and the variance along each.

    Singular values above the threshold of :cite:t:`Gavish14` for noise of unknown size; at least one axis. Of
    data with few varying axes, or of lower rank than noise has, all axes with variance are kept.
    """
    n, d = x.shape
    few = x - centre if n < d else None
    values, vectors = eigh((few @ few.T) if few is not None else _scatter(x, centre))
    singular = np.sqrt(np.maximum(values[::-1], 0))
    kept = rank = int((singular > RANK_TOL * singular[0]).sum())
    varied = int((np.ptp(x, axis=0) > 0).sum())
    if varied > MANY_AXES and rank >= min(n, varied) - 1:  # of lower rank there is no noise to stand out of
        beta = min(n, varied) / max(n, varied)
        threshold = (0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43) * np.median(singular[:rank])
        kept = max(1, int((singular > threshold).sum()))
    axes = vectors[:, ::-1][:, :kept].T
    if few is not None:
        axes = axes @ few / singular[:kept, None]
    return np.ascontiguousarray(axes), singular[:kept] ** 2 / n


def _scatter(x: np.ndarray, centre: np.ndarray) -> np.ndarray:
    rows = max(1, BLOCK_NUMBERS // x.shape[1])
    total = np.zeros((x.shape[1], x.shape[1]))
    for first in range(0, len(x), rows):
        part = x[first : first + rows] - centre
        total += part.T @ part
    return total
