"""Which condition each cell is of, such as control or treated, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.columns import read_groups

FEWEST = 2
"""Cells of a condition at a time that can be coupled."""

NO_CONDITIONS = "condition={!r}, but the fit has no conditions. Run `vgfm_sc.tl.fit` with condition_key."

MISSING = (
    " Cells from which several conditions start may be labelled as any one of these: conditions without cells at the "
    "first time start from those of the others."
)
"""Said of cells without a condition."""

NO_CONDITION = -1
"""Code of a cell whose condition the fit does not know."""


@dataclass(frozen=True)
class Conditions:
    """Conditions of a fit.

    ``key``: the column of ``obs``. ``names``: the conditions, in the order in which their numbers count. ``codes``: the
    number of each cell's, or `NO_CONDITION`, shape ``(n_obs,)``. ``sampled``: whether a condition has cells of its own
    at a time point, shape ``(n_conditions, n_time_points)``.
    """

    key: str
    names: list[str]
    codes: np.ndarray
    sampled: np.ndarray

    def number(self, name: Any) -> int:
        """The number of a condition; errors list those there are."""
        if str(name) not in self.names:
            msg = f"The fit knows no condition {name!r} of obs[{self.key!r}]. Conditions: {self.names}."
            raise ValueError(msg)
        return self.names.index(str(name))

    def only(self, cells: np.ndarray, what: str) -> int:
        """The number of the one condition of ``cells``, positions; the error speaks of them as ``what``."""
        found = np.unique(self.codes[cells])
        if len(found) != 1 or found[0] == NO_CONDITION:
            known = [self.names[k] for k in found if k != NO_CONDITION]
            others = " and of others that it does not know" if NO_CONDITION in found else ""
            msg = (
                f"The fit has several conditions of obs[{self.key!r}], and {what} are of {known}{others}. Choose one "
                f"with condition={self.names[0]!r}, or pass the cells of one, adata[adata.obs[{self.key!r}] == "
                f"{self.names[0]!r}].copy()."
            )
            raise ValueError(msg)
        return int(found[0])

    def passed(self, number: int) -> np.ndarray:
        """Places of the time points that the course of a condition goes through: the first, and those it has."""
        through = self.sampled[number].copy()
        through[0] = True
        return np.flatnonzero(through)

    def rows(self, rows: Sequence[np.ndarray], number: int) -> list[np.ndarray]:
        """Of the cells of all time points those of a condition, for each time point that it goes through.

        A condition without cells at the first starts from those of all the others.
        """
        own = [rows[k][self.codes[rows[k]] == number] for k in self.passed(number)]
        return own if self.sampled[number, 0] else [rows[0], *own[1:]]

    def totals(self, rows: Sequence[np.ndarray], number: int) -> np.ndarray:
        """Numbers of these cells; at a common start the mean over the conditions that have cells there."""
        found = np.asarray([len(cells) for cells in self.rows(rows, number)], dtype=float)
        if not self.sampled[number, 0]:
            found[0] /= self.sampled[:, 0].sum()
        return found


def read_conditions(
    adata: ad.AnnData, condition_key: str, rows: Sequence[np.ndarray], time_points: np.ndarray
) -> Conditions:
    """``obs[condition_key]`` of all cells, checked; ``rows``: positions of the cells of each time point."""
    names, codes = read_groups(adata, condition_key, "condition_key", "condition", MISSING)
    where = f"obs[{condition_key!r}]"
    counts = np.stack([np.bincount(codes[cells], minlength=len(names)) for cells in rows], axis=1)
    few = {name: _times(time_points[(0 < n) & (n < FEWEST)]) for name, n in zip(names, counts, strict=True)}
    if any(few.values()):
        found = {name: times for name, times in few.items() if times}
        msg = f"{where}: fewer than {FEWEST} cells of a condition at these times: {found}. Drop those cells."
        raise ValueError(msg)
    sampled = counts > 0
    alone = [name for name, at in zip(names, sampled, strict=True) if not at[1:].any()]
    if alone:
        msg = (
            f"{where}: {alone} have cells at the first time alone, {time_points[0]:g}, so there is no course to fit. "
            "Drop them. Or, if other conditions start from these cells, give them the label of one of those: "
            "conditions without cells at that time start from them."
        )
        raise ValueError(msg)
    return Conditions(condition_key, names, codes, sampled)


def fitted_conditions(adata: ad.AnnData, params: Any) -> Conditions | None:
    """The conditions of a fit, and which of them the cells at hand are of; `None` if it has none."""
    if "condition_key" not in params:
        return None
    key, names = str(params["condition_key"]), [str(name) for name in params["conditions"]]
    if key not in adata.obs:
        msg = f"The fit used the conditions of obs[{key!r}], which is missing. Available: {list(adata.obs.columns)}."
        raise KeyError(msg)
    codes = pd.Index(names).get_indexer(adata.obs[key].astype(str).to_numpy(dtype=object))
    return Conditions(key, names, codes, np.asarray(params["condition_sampled"], dtype=bool))


def _times(times: np.ndarray) -> list[float]:
    return [float(t) for t in times]
