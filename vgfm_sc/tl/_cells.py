"""Which time point, and which cells of one, a call means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from vgfm_sc import _anndata


def time_point(snapshots: _anndata.Snapshots, wanted: Any, name: str) -> int:
    """Place of ``wanted`` among the time points; it must have cells."""
    time, points = number(wanted, name, snapshots), snapshots.time_points
    k = int(np.abs(points - time).argmin())
    if not abs(points[k] - time) <= _anndata.SAME_TIME * np.ptp(points) or not len(snapshots.rows[k]):
        here = [float(t) for t, rows in zip(points, snapshots.rows, strict=True) if len(rows)]
        msg = f"No cells at time {time:g}. Time points: {here}."
        raise ValueError(msg)
    return k


def number(time: Any, name: str, snapshots: _anndata.Snapshots) -> float:
    """A time, given as a number or by its label, as a float; errors list those there are."""
    labels = snapshots.labels or {}
    if isinstance(time, str) and time in labels:
        return labels[time]
    if isinstance(time, bool | str) or time is None or np.ndim(time) or not np.isreal(time):
        known = f"Labels: {list(labels)}. " if labels else ""
        points = snapshots.time_points.tolist()
        msg = f"{name} must be a time, as a number; got {time!r}. {known}Time points: {points}."
        raise TypeError(msg)
    return float(time)


def numbers(times: Any, name: str, snapshots: _anndata.Snapshots) -> np.ndarray:
    """Times, each as `number` takes it, as float64, shape ``(n,)``."""
    values = np.asarray(times)
    if values.dtype.kind not in "iuf":
        values = np.asarray([number(time, name, snapshots) for time in values.ravel().tolist()])
    return values.ravel().astype(float)


def positions(snapshots: _anndata.Snapshots, cells: Any, name: str, otherwise: str) -> tuple[np.ndarray, float]:
    """Cells of one time, given as a boolean mask or as positions, and that time.

    ``otherwise``: what else the argument ``name`` may be, for the error.
    """
    n_obs = len(snapshots.time)
    index = np.asarray(cells, dtype=bool if pd.api.types.is_bool_dtype(cells) else None)
    if index.dtype == bool and index.shape == (n_obs,):
        index = np.flatnonzero(index)
        if not len(index):
            msg = f"{name} is a mask that selects none of the {n_obs} cells."
            raise ValueError(msg)
    if index.dtype.kind not in "iu" or index.ndim != 1 or not len(index) or index.min() < 0 or index.max() >= n_obs:
        msg = f"{name} must be {otherwise}, a boolean mask of {n_obs} cells or positions of cells, at least one."
        raise ValueError(msg)
    found = np.unique(snapshots.time[index])
    if len(found) > 1:
        msg = f"{name} names cells of several time points {found.tolist()}; choose cells of one."
        raise ValueError(msg)
    return index, float(found[0])


def drawn(cells: np.ndarray, n_cells: int | None, rng: np.random.Generator) -> np.ndarray:
    """``n_cells`` of ``cells``, or all if there are no more or none are asked for, in their order."""
    if n_cells is None:
        return cells
    if isinstance(n_cells, bool) or not isinstance(n_cells, int | np.integer) or n_cells < 1:
        msg = f"n_cells must be a whole number of at least 1, got {n_cells!r}."
        raise ValueError(msg)
    return np.sort(rng.choice(cells, min(n_cells, len(cells)), replace=False))
