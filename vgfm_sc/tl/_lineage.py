"""What `descendants` and `ancestors` have in common: where they start, and the couplings on the way."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from scipy.sparse import csr_matrix

from vgfm_sc import _anndata, get
from vgfm_sc.tl import _cells


class Lineage(NamedTuple):
    """A way from time point to time point.

    ``rows``: for each time point the positions of its cells. ``plans``: between one and the next, rows being the cells
    earlier in time. ``weights``: of the cells that the way starts at; NaN where the first plan does not have them.
    """

    rows: list[np.ndarray]
    plans: list[csr_matrix]
    weights: np.ndarray


def read(
    adata: AnnData, cells: Any, to: float | str | None, condition: str | None, key: str, *, forward: bool
) -> Lineage:
    """The way from ``cells`` to the time point ``to``, or to the last (first) one, by the plans of a ``condition``.

    Without one named it is that of the cells.
    """
    _, sampling = _anndata.fitted_sampling(adata, key)
    weights, time = _weights(sampling, cells)
    if sampling.conditions is not None and condition is None:
        condition = sampling.conditions.names[sampling.conditions.only(np.flatnonzero(weights), "these cells")]
    condition = _anndata.condition_meant(adata, key, condition)
    sampling = sampling.under(condition)
    points = sampling.time_points
    first = _cells.place(sampling, time)
    ends, towards = (len(points) - 1, "after") if forward else (0, "before")
    last = ends if to is None else _cells.time_point(sampling, to, "to")
    if (last <= first) if forward else (last >= first):
        found = "there is none" if first == ends else f"got to={to!r}"
        msg = f"The cells are from time {time:g}; a time point {towards} it is needed, {found}."
        raise ValueError(msg)
    known = get.couplings(adata, key, condition=condition)
    way = range(first, last + 1) if forward else range(first, last - 1, -1)
    intervals = [(float(points[j]), float(points[j + 1])) for j in sorted(way)[:-1]]
    missing = [interval for interval in intervals if interval not in known]
    if missing:
        msg = f"No coupling for the intervals {missing}: a time point has been dropped. Choose another `to`."
        raise ValueError(msg)
    plans = [known[interval].astype(float) for interval in (intervals if forward else intervals[::-1])]

    held = weights[sampling.rows[first]]
    held[plans[0].getnnz(axis=1 if forward else 0) == 0] = np.nan
    if not np.nansum(held):
        msg = "None of the cells takes part in the coupling: they were held out (validation), or all partners dropped."
        raise ValueError(msg)
    return Lineage([sampling.rows[j] for j in way], plans, held)


def write(adata: AnnData, key: str, name: str, rows: list[np.ndarray], found: list[np.ndarray]) -> None:
    """``obs[name]``: what was ``found`` at each time point of the way, NaN at others."""
    column = np.full(adata.n_obs, np.nan, dtype=np.float32)
    for cells, values in zip(rows, found, strict=True):
        column[cells] = values
    _anndata.write_derived(adata, key, {("obs", name): column})


def column_name(adata: AnnData, key: str, key_added: str | None, what: str) -> str:
    """The column to write, checked before any work is done."""
    name = f"{key}_{what}" if key_added is None else key_added
    _anndata.check_key(name)
    _anndata.check_derived(adata, key, [("obs", name)])
    return name


def _weights(sampling: _anndata.Sampling, cells: Any) -> tuple[np.ndarray, float]:
    """One weight for each cell of the object, and the time of those that have any."""
    n_obs = len(sampling.time)
    given = np.asarray(cells)
    if given.dtype.kind == "f" and given.shape == (n_obs,):
        if not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
            msg = "The weights in cells must be finite and at least 0, with some above 0; use 0 for cells to leave out."
            raise ValueError(msg)
        return given.astype(float), _cells.positions(sampling, np.flatnonzero(given), "cells", "weights")[1]
    index, time = _cells.positions(sampling, cells, "cells", f"{n_obs} weights (floating-point numbers)")
    if len(np.unique(index)) < len(index):
        msg = "cells names some positions more than once. Name each once, or pass weights as floating-point numbers."
        raise ValueError(msg)
    weights = np.zeros(n_obs)
    weights[index] = 1
    return weights, time
