"""Between the user's units and the unitless ones that training sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Scaling(NamedTuple):
    """One centre and one length for all axes, so that directions and relative distances stay as they are.

    ``centre``: mean of all cells, shape ``(d,)``. ``length``: root mean variance per axis. ``time_middle``: middle
    of the time course. ``time_unit``: mean interval between time points.
    """

    centre: np.ndarray
    length: float
    time_middle: float
    time_unit: float

    @classmethod
    def of(cls, x: np.ndarray, time_points: np.ndarray) -> Scaling:
        """The scaling of cells ``x``, shape ``(n, d)``, sampled at ``time_points``."""
        first, last = float(time_points[0]), float(time_points[-1])
        largest = np.abs(x).max()  # squares of very large or small numbers leave the float range
        length = float(largest * np.sqrt((x / largest).var(axis=0).mean()))
        return cls(x.mean(axis=0), length, (first + last) / 2, (last - first) / (len(time_points) - 1))

    def to_unitless(self, x: np.ndarray) -> np.ndarray:
        """Positions to unitless ones."""
        return (x - self.centre) / self.length

    def from_unitless(self, x: np.ndarray) -> np.ndarray:
        """Unitless positions to the user's."""
        return x * self.length + self.centre

    def to_unitless_time(self, t):
        """Times to unitless ones: 0 in the middle, 1 for a mean interval."""
        return (t - self.time_middle) / self.time_unit
