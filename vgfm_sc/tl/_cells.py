"""Which time point, and which cells of one, a call means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from vgfm_sc import _anndata, _checks
from vgfm_sc._time import meant


def time_point(sampling: _anndata.Sampling, wanted: Any, name: str) -> int:
    """Place of the time meant by ``wanted`` among the time points; it must have cells."""
    return place(sampling, number(wanted, name, sampling))


def place(sampling: _anndata.Sampling, time: float) -> int:
    """Place of ``time``, as it is, among the time points; it must have cells."""
    points = sampling.time_points
    k = int(np.abs(points - time).argmin())
    if points[k] != time or not len(sampling.rows[k]):
        here = [float(t) for t, rows in zip(points, sampling.rows, strict=True) if len(rows)]
        msg = f"No cells at time {time:g}. Time points: {here}."
        raise ValueError(msg)
    return k


def number(wanted: Any, name: str, sampling: _anndata.Sampling, *, between: bool = False) -> float:
    """The time meant by a number or a label (see `vgfm_sc._time.meant`); errors list those there are."""
    time = meant(wanted, name, sampling.labels, sampling.time_points, between=between)
    if time is None:
        known = f"Labels: {list(sampling.labels)}. " if sampling.labels else ""
        points = sampling.time_points.tolist()
        msg = f"{name} must be a time, as a number; got {wanted!r}. {known}Time points: {points}."
        raise TypeError(msg)
    return time


def covered(wanted: Any, name: str, sampling: _anndata.Sampling) -> float:
    """As `number`, a time between the first and the last."""
    time, points = number(wanted, name, sampling, between=True), sampling.time_points
    if not points[0] <= time <= points[-1]:
        msg = f"{name}={time:g} lies outside the range of the fit, {points[0]:g} to {points[-1]:g}."
        raise ValueError(msg)
    return time


def check_covered(sampling: _anndata.Sampling, times: np.ndarray) -> None:
    """Every one of ``times``, those of cells, must be one that the fit knows."""
    first, last = sampling.time_points[[0, -1]]
    outside = ~((times >= first) & (times <= last))
    if outside.any():
        found = np.unique(times[outside]).tolist()
        msg = (
            f"{outside.sum()} cells are from times {found}; the fit covers {first:g} to {last:g}. Leave these cells "
            "out or run `vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)


def numbers(wanted: Any, name: str, sampling: _anndata.Sampling, *, between: bool = False) -> np.ndarray:
    """Times, each as `number` takes it, as float64, shape ``(n,)``."""
    listed = np.ravel(np.asarray(wanted, dtype=object)).tolist()
    return np.asarray([number(time, name, sampling, between=between) for time in listed], dtype=float)


def positions(sampling: _anndata.Sampling, cells: Any, name: str, otherwise: str) -> tuple[np.ndarray, float]:
    """Cells of one time, given as a boolean mask or as positions, and that time.

    ``otherwise``: what else the argument ``name`` may be, for the error.
    """
    n_obs = len(sampling.time)
    index = np.asarray(cells, dtype=bool if pd.api.types.is_bool_dtype(cells) else None)
    if index.dtype == bool and index.shape == (n_obs,):
        index = np.flatnonzero(index)
        if not len(index):
            msg = f"{name} is a mask that selects none of the {n_obs} cells."
            raise ValueError(msg)
    if index.dtype.kind not in "iu" or index.ndim != 1 or not len(index) or index.min() < 0 or index.max() >= n_obs:
        msg = f"{name} must be {otherwise}, a boolean mask of {n_obs} cells or positions of cells, at least one."
        raise ValueError(msg)
    found = np.unique(sampling.time[index])
    if len(found) > 1:
        msg = f"{name} names cells of several time points {found.tolist()}; choose cells of one."
        raise ValueError(msg)
    return index, float(found[0])


def starting(sampling: _anndata.Sampling, start: Any) -> tuple[np.ndarray, float]:
    """Cells that a run may start from and their time: of one time point (`None`: the first), or as `positions`."""
    if start is not None and np.ndim(start):
        return positions(sampling, start, "start", "a time point")
    first = float(sampling.time_points[0])
    if start is None and not len(sampling.rows[0]):
        msg = f"No cells at time {first:g}, the first of the fit. Pass start=, a time point that has cells."
        raise ValueError(msg)
    k = place(sampling, first) if start is None else time_point(sampling, start, "start")
    return sampling.rows[k], float(sampling.time_points[k])


def drawn(cells: np.ndarray, n_cells: int | None, rng: np.random.Generator) -> np.ndarray:
    """``n_cells`` of ``cells``, or all if there are no more or none are asked for, in their order."""
    if n_cells is None:
        return cells
    _checks.whole("n_cells", n_cells)
    return np.sort(rng.choice(cells, min(n_cells, len(cells)), replace=False))
