"""Cells that belong together: those of one time point and, if there are several, of one condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vgfm_sc._anndata.conditions import Conditions


class Groups(NamedTuple):
    """Cells that are drawn from apart.

    ``rows``: positions of the cells of each group. ``place``: of its time point. ``number``: of its condition, 0 if
    there are none.
    """

    rows: list[np.ndarray]
    place: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[np.ndarray], conditions: Conditions | None) -> Groups:
        """The groups of cells whose ``rows`` are given by time point."""
        if conditions is None:
            return cls(list(rows), np.arange(len(rows)), np.zeros(len(rows), dtype=int))
        place, number = np.nonzero(conditions.sampled.T)
        own = [rows[j][conditions.codes[rows[j]] == k] for j, k in zip(place.tolist(), number.tolist(), strict=True)]
        return cls(own, place, number)

    def joined(self, drawn: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What was ``drawn`` of each group, by time point."""
        return [
            np.concatenate([cells for cells, k in zip(drawn, self.place, strict=True) if k == j])
            for j in range(self.place.max() + 1)
        ]

    def by_condition(self, totals: Sequence[float], conditions: Conditions | None) -> np.ndarray:
        """The total of each group as `Sampling.given` holds them.

        A condition without cells at the first time has the mean total of the others there.
        """
        if conditions is None:
            return np.asarray(totals, dtype=float)
        given = np.full(conditions.sampled.shape, np.nan)
        given[self.number, self.place] = totals
        given[:, 0] = np.where(np.isnan(given[:, 0]), np.nanmean(given[:, 0]), given[:, 0])
        return given
