from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, get

POINTS_PER_INTERVAL = 20
"""Times at which trajectories are kept when none are named: enough for smooth lines."""


def simulate(
    adata: AnnData,
    *,
    n_cells: int | None = 200,
    start: float | Sequence[int] | np.ndarray | None = None,
    times: Sequence[float] | None = None,
    key: str = "vgfm",
    seed: int = 0,
    tol: float = 1e-4,
) -> None:
    """Follow cells along the fitted velocity and growth, forward or backward in time.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    n_cells
        How many of the starting cells to follow, drawn at random; `None` follows all.
    start
        Where from: a time point (`None`: the first), or cells of one time point as a boolean mask or positions.
    times
        Times to keep, all after or all before the start and in order of travel; `None` goes from the start to the
        last time point in even steps. Times outside the observed range are an error: nothing was learned there.
    key
        The fit's ``key_added``.
    seed
        Of the draw of cells.
    tol
        Error allowed in one step of the adaptive integrator (Dormand-Prince, order 5), root mean square over cells,
        as a share of the data's spread.

    Returns
    -------
    `None`. Sets the following field:

    ``adata.uns["vgfm"]["trajectories"]`` : :class:`dict`
        ``times``, shape ``(n_times,)``, the start first; ``positions``, float32, shape ``(n_times, n, d)``, in units
        of the representation; ``mass``, float32, shape ``(n_times, n)``, 1 at the start; ``cells``, names of the
        cells, shape ``(n,)``. Read it with `vgfm_sc.get.trajectories`.

    Raises
    ------
    KeyError
        No fit under ``key``.
    ValueError
        ``start`` or ``times`` cannot be used; the message says what is there.
    """
    _, snapshots = _anndata.read_fitted(adata, key)
    cells, first = _starting_cells(snapshots, start)
    grid = _grid(snapshots.time_points, first, times)
    check_tol(tol)
    if n_cells is not None:
        if not isinstance(n_cells, int | np.integer) or n_cells < 1:
            msg = f"n_cells must be a whole number of at least 1, got {n_cells!r}."
            raise ValueError(msg)
        rng = np.random.default_rng(seed)
        cells = np.sort(rng.choice(cells, min(n_cells, len(cells)), replace=False))
    positions, mass = get.model(adata, key).simulate(snapshots.x[cells], grid, tol=tol)
    trajectories = {
        "times": grid,
        "positions": positions.astype(np.float32),
        "mass": mass.astype(np.float32),
        "cells": np.asarray(adata.obs_names[cells], dtype=str),
    }
    _anndata.write_derived(adata, key, {}, trajectories=trajectories)


def _starting_cells(snapshots: _anndata.Snapshots, start) -> tuple[np.ndarray, float]:
    points = snapshots.time_points
    if start is None or np.ndim(start) == 0:
        if start is not None and (isinstance(start, bool | str) or not np.isreal(start)):
            msg = f"start must be a time point or cells of one, got {start!r}."
            raise TypeError(msg)
        wanted = float(points[0] if start is None else start)
        first = float(points[np.abs(points - wanted).argmin()])
        cells = np.flatnonzero(snapshots.time == first)
        # times read from float32 columns are not quite the numbers people type
        if abs(first - wanted) > 1e-6 * np.ptp(points) or not len(cells):
            here = [float(t) for t, rows in zip(points, snapshots.rows, strict=True) if len(rows)]
            msg = f"No cells at time {wanted:g}. Time points: {here}."
            raise ValueError(msg)
        return cells, first
    index = np.asarray(start)
    cells = np.flatnonzero(index) if index.dtype == bool and len(index) == len(snapshots.time) else index
    if cells.dtype.kind not in "iu" or not len(cells) or cells.min() < 0 or cells.max() >= len(snapshots.time):
        msg = f"start must be a time point, a boolean mask of {len(snapshots.time)} cells or positions of cells."
        raise ValueError(msg)
    found = np.unique(snapshots.time[cells])
    if len(found) > 1:
        msg = f"The cells of start are from several time points {found.tolist()}; choose cells of one."
        raise ValueError(msg)
    return cells, float(found[0])


def _grid(points: np.ndarray, first: float, times: Sequence[float] | None) -> np.ndarray:
    if times is None:
        if first == points[-1]:
            msg = f"Time {first:g} is the last. Name earlier times to go backward, for example times=[{points[0]:g}]."
            raise ValueError(msg)
        later = np.concatenate([[first], points[points > first]])
        parts = [np.linspace(a, b, POINTS_PER_INTERVAL + 1)[1:] for a, b in zip(later[:-1], later[1:], strict=True)]
        return np.concatenate([[first], *parts])
    grid = np.asarray(times, dtype=float).ravel()
    if len(grid) and grid[0] != first:
        grid = np.concatenate([[first], grid])
    steps = np.diff(grid)
    if not len(steps) or not np.isfinite(grid).all() or not ((steps > 0).all() or (steps < 0).all()):
        msg = f"times must lead away from the start {first:g} in one direction, got {grid.tolist()}."
        raise ValueError(msg)
    if grid.min() < points[0] or grid.max() > points[-1]:
        msg = f"times reach from {grid.min():g} to {grid.max():g}; the fit covers {points[0]:g} to {points[-1]:g}."
        raise ValueError(msg)
    return grid


def check_tol(tol: float) -> None:
    """Refuse a tolerance that no step could meet, or any."""
    if not tol > 0:
        msg = f"tol must be positive, got {tol!r}."
        raise ValueError(msg)
