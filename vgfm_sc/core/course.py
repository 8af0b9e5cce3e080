"""A time course as training sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Course:
    """Snapshots by time point, all unitless.

    ``positions``: cells to train on, shapes ``(n_k, d)``. ``times``: increasing. ``totals``: mass of each time point
    relative to the first. ``masses``: that of a cell of each time point relative to one of the first, or of each of its
    cells. ``durations``: length of each interval in mean ones, as the user counts time, where ``times`` may pass
    unevenly. ``prior``: growth expected of each cell per mean interval, shapes ``(n_k,)``, if there is any.
    ``held_out``: cells that training does not see and is judged on, if any, shapes ``(h_k, d)``. ``wander``: standard
    deviation per axis of Brownian motion over each interval, where paths are bridges of it. ``clones``: of each cell,
    shapes ``(n_k,)``, -1 in those without one, where lineage barcodes are known. ``rho_factors``: factor on the penalty
    on growth of each interval. ``state_growth``: mean growth of cells in the state of each cell, in the unit of
    ``prior``. Both are learnt from first couplings.
    """

    positions: Sequence[np.ndarray]
    times: Sequence[float]
    totals: Sequence[float]
    masses: Sequence[float | np.ndarray]
    durations: Sequence[float]
    prior: Sequence[np.ndarray] | None = None
    held_out: Sequence[np.ndarray] | None = None
    wander: Sequence[float] | None = None
    clones: Sequence[np.ndarray] | None = None
    rho_factors: Sequence[float] | None = None
    state_growth: Sequence[np.ndarray] | None = None

    def arrays(self) -> Iterator[np.ndarray]:
        """All numbers that are given, and which of the parts are."""
        yield from (np.asarray(part, dtype=float) for part in (self.times, self.totals, self.masses, self.durations))
        wander = None if self.wander is None else [np.asarray(self.wander, dtype=float)]
        for part in (self.positions, self.prior, self.held_out, wander, self.clones):
            yield np.asarray(part is None)
            yield from part or ()
