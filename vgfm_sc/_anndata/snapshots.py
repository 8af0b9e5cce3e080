"""Representation and times of the cells, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._time import parse_time


class Snapshots(NamedTuple):
    """Cells by time point.

    ``x``: representation, shape ``(n_obs, d)``. ``time``: shape ``(n_obs,)``. ``time_points``: the distinct times,
    increasing. ``rows``: for each time point the positions of its cells in the object.
    """

    x: np.ndarray
    time: np.ndarray
    time_points: np.ndarray
    rows: list[np.ndarray]


def read_snapshots(
    adata: ad.AnnData, time_key: str, use_rep: str, time_map: Mapping[Any, float] | None = None
) -> Snapshots:
    """Representation and times of all cells, checked."""
    if not isinstance(adata, ad.AnnData):
        msg = f"Expected an AnnData, got {type(adata).__name__}."
        raise TypeError(msg)
    time = read_time(adata, time_key, time_map)
    x = read_representation(adata, use_rep)
    time_points, which = np.unique(time, return_inverse=True)
    if len(time_points) < 2:
        msg = f"obs[{time_key!r}] holds one time point ({time_points[0]:g}); at least two are needed."
        raise ValueError(msg)
    rows = [np.flatnonzero(which == k) for k in range(len(time_points))]
    small = {f"{t:g}": len(r) for t, r in zip(time_points, rows, strict=True) if len(r) < 2}
    if small:
        msg = f"Time points with fewer than 2 cells (time: cells): {small}. Drop them or merge them with a neighbour."
        raise ValueError(msg)
    return Snapshots(x, time, time_points, rows)


def read_time(adata: ad.AnnData, time_key: str, time_map: Mapping[Any, float] | None = None) -> np.ndarray:
    """``obs[time_key]`` as float64, shape ``(n_obs,)``; the user's column is not changed."""
    if time_key not in adata.obs:
        msg = f"Time key {time_key!r} not found in adata.obs. Available: {list(adata.obs.columns)}."
        raise KeyError(msg)
    if adata.n_obs == 0:
        msg = "adata has no cells."
        raise ValueError(msg)
    return parse_time(adata.obs[time_key], f"obs[{time_key!r}]", time_map)


def read_representation(adata: ad.AnnData, use_rep: str) -> np.ndarray:
    """``obsm[use_rep]`` as a float array of its own, shape ``(n_obs, d)``."""
    if use_rep not in adata.obsm:
        hint = " Run `sc.pp.pca(adata)` first." if use_rep == "X_pca" else ""
        msg = f"Representation {use_rep!r} not found in adata.obsm. Available: {list(adata.obsm)}.{hint}"
        raise KeyError(msg)
    x = adata.obsm[use_rep]
    for convert in ("compute", "toarray", "to_numpy"):  # dask, then sparse or DataFrame
        x = getattr(x, convert)() if hasattr(x, convert) else x
    x = np.asarray(x)
    frame = adata.obsm[use_rep]
    if isinstance(frame, pd.DataFrame) and all(pd.api.types.is_numeric_dtype(t) for t in frame.dtypes):
        x = frame.to_numpy(dtype=float, na_value=np.nan)  # nullable columns are objects otherwise
    if x.dtype.kind not in "fiu":
        msg = f"obsm[{use_rep!r}] is of type {x.dtype}; a numeric array is needed."
        raise TypeError(msg)
    if x.ndim != 2 or x.shape[1] == 0:
        msg = f"obsm[{use_rep!r}] has shape {x.shape}; (n_obs, at least 1 dimension) is needed."
        raise ValueError(msg)
    x = x.astype(np.float64)
    bad = int((~np.isfinite(x)).any(axis=1).sum())
    if bad:
        msg = f"obsm[{use_rep!r}] holds NaN or infinity in {bad} of {len(x)} cells."
        raise ValueError(msg)
    if not np.ptp(x, axis=0).any():
        msg = f"obsm[{use_rep!r}] is constant: all cells are at one point."
        raise ValueError(msg)
    return x
