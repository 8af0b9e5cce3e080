"""Which sample each cell is of, such as an animal, read and checked; samples drawn again in place of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.columns import read_groups
from vgfm_sc._anndata.groups import Groups
from vgfm_sc._anndata.masses import COUNTS, EQUAL, read_numbers

FEWEST = 2
"""Cells of a sample at a time: without a second there is no variance within it."""

BY_CELLS = -1
"""In place of how often a sample was drawn: there is no other to draw from, so its cells were drawn again."""

MOST_LISTED = 5
"""Samples that an error names."""


@dataclass(frozen=True)
class Samples:
    """Samples of a fit.

    ``key``: the column of ``obs``. ``names``: the samples. ``codes``: the number of each cell's, shape ``(n_obs,)``.
    ``sizes``: total of each cell's sample at its time and in its condition, shape ``(n_obs,)``; `None` where totals are
    known of time points alone.
    """

    key: str
    names: list[str]
    codes: np.ndarray
    sizes: np.ndarray | None

    def total(self, cells: np.ndarray, drawn: np.ndarray | None = None) -> float:
        """Mean size of the samples of a group of cells, where each counts as often as it was ``drawn``, else once."""
        if self.sizes is None:
            msg = "Totals of samples are not known."
            raise ValueError(msg)
        found, first = np.unique(self.codes[cells], return_index=True)
        weights = None if drawn is None else np.abs(drawn[found])
        return float(np.average(self.sizes[cells[first]], weights=weights))

    def drawn(self, groups: Groups, rng: np.random.Generator) -> np.ndarray:
        """How often each sample counts when samples are drawn again, shape ``(n_samples,)``.

        Samples of the same times and conditions stand for each other. Of ``n`` such, ``n - 1`` are drawn with
        replacement: the variance of a mean over them is then that of a mean over ``n`` new samples, without the factor
        ``1 - 1/n`` by which drawing all ``n`` falls short :cite:p:`Rao88`. A sample alone is `BY_CELLS`.
        """
        seen = np.stack(
            [np.bincount(self.codes[cells], minlength=len(self.names)) > 0 for cells in groups.rows], axis=1
        )
        _, kind = np.unique(seen, axis=0, return_inverse=True)
        counts = np.full(len(self.names), BY_CELLS)
        for alike in (np.flatnonzero(kind == k) for k in range(kind.max() + 1)):
            if len(alike) > 1:
                again = rng.choice(alike, len(alike) - 1)
                counts[alike] = np.bincount(again, minlength=len(self.names))[alike]
        return counts

    def table(
        self, groups: Groups, time_points: np.ndarray, x: np.ndarray, conditions: list[str] | None
    ) -> pd.DataFrame:
        """One row for each sample of each group; ``x``: positions of all cells, shape ``(n_obs, d)``."""
        rows: list[dict[str, Any]] = []
        for cells, j, k in zip(groups.rows, groups.place, groups.number, strict=True):
            found, first, counts = np.unique(self.codes[cells], return_index=True, return_counts=True)
            between = share_between(x[cells], self.codes[cells])
            of = {} if conditions is None else {"condition": conditions[k]}
            for code, cell, n in zip(found, cells[first], counts, strict=True):
                size = np.nan if self.sizes is None else float(self.sizes[cell])
                row = {"sample": self.names[code], **of, "time": float(time_points[j])}
                rows.append({**row, "cells": int(n), "size": size, "between": between})
        return pd.DataFrame(rows)


def share_between(x: np.ndarray, codes: np.ndarray) -> float:
    """Share of the total variance of cells ``x``, shape ``(n, d)``, that lies between samples; NaN for one sample.

    The intraclass correlation of a one-way analysis of variance, summed over dimensions, so that samples drawn from one
    population have a share of 0 whatever their numbers of cells.
    """
    _, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    k, n = len(counts), len(x)
    if k < 2:
        return float("nan")
    means = np.stack([x[which == j].mean(axis=0) for j in range(k)])
    within = ((x - means[which]) ** 2).sum() / (n - k)
    between = (counts @ ((means - x.mean(axis=0)) ** 2).sum(axis=1)) / (k - 1)
    added = max(0.0, (between - within) / ((n - (counts**2).sum() / n) / (k - 1)))
    return float(added / (added + within)) if added + within > 0 else 0.0


def read_samples(adata: ad.AnnData, sample_key: str, groups: Groups, mass: str | Mapping[Any, Any]) -> Samples:
    """``obs[sample_key]`` of all cells, and the sizes that ``mass`` gives to samples, checked."""
    names, codes = read_groups(adata, sample_key, "sample_key", "sample")
    where = f"obs[{sample_key!r}]"
    counts = [np.bincount(codes[cells], minlength=len(names)) for cells in groups.rows]
    few = sorted({names[code] for n in counts for code in np.flatnonzero((0 < n) & (n < FEWEST))})
    if few:
        some = f"{few[:MOST_LISTED]}"[:-1] + (", ...]" if len(few) > MOST_LISTED else "]")
        msg = f"{where}: {len(few)} samples have fewer than {FEWEST} cells at a time: {some}. Drop these cells."
        raise ValueError(msg)
    sizes = None
    if isinstance(mass, str) and mass == COUNTS:
        sizes = np.empty(adata.n_obs)
        for cells, n in zip(groups.rows, counts, strict=True):
            sizes[cells] = n[codes[cells]]
    elif isinstance(mass, str) and mass != EQUAL:
        sizes = read_numbers(adata, mass, "mass")
        for cells in groups.rows:
            several = pd.Series(sizes[cells]).groupby(codes[cells]).nunique()
            many = {names[code]: int(n) for code, n in several.items() if n > 1}
            if many:
                msg = (
                    f"obs[{mass!r}] must hold one total for each sample at a time; it has several (sample: values): "
                    f"{many}."
                )
                raise ValueError(msg)
    return Samples(sample_key, names, codes, sizes)


def fitted_samples(adata: ad.AnnData, params: Mapping[str, Any], names: list[str]) -> np.ndarray:
    """The number of each cell's sample among ``names``, those of the fit; -1 in cells of others."""
    key = str(params["sample_key"])
    if key not in adata.obs:
        msg = f"The fit used the samples of obs[{key!r}], which is missing. Available: {list(adata.obs.columns)}."
        raise KeyError(msg)
    return pd.Index(names).get_indexer(adata.obs[key].astype(str).to_numpy(dtype=object))
