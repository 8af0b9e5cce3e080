from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.dynamics import chance
from vgfm_sc.tl import _cells
from vgfm_sc.tl._model import check_noise, condition_to_follow, model_and_cells

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model

POINTS_PER_INTERVAL = 20
"""Times at which trajectories are kept when none are named: enough for smooth lines."""

MOST_FOR_MEAN, BLOCK_FOR_MEAN = 10_000, 1_000
"""Cells whose mean mass is taken, and those held at once: growth is unequal, and 200 cells may be off by a fifth."""


def simulate(
    adata: AnnData,
    *,
    n_cells: int | None = 200,
    start: float | str | Sequence[int] | np.ndarray | None = None,
    times: Sequence[float | str] | None = None,
    noise: float = 0.0,
    branching: bool = False,
    condition: str | None = None,
    key: str = "vgfm",
    seed: int = 0,
    tol: float = 1e-4,
    step: float = 0.05,
    device: str = "auto",
) -> None:
    """Follow cells along the fitted velocity and growth, forward or backward in time.

    Without ``noise`` and ``branching`` the run is deterministic and each cell carries a mass, 1 at its start, that
    grows or shrinks. Two things can be left to chance. With ``noise`` cells take random steps, and the score that the
    fit has learnt draws them back to where cells are: ``dx = (v + noise^2 / 2 score) dt + noise dB``. A cell takes
    another course in every run, and the population at every time is the same with any noise, or none
    (:cite:p:`Song21`; :cite:p:`Tong24b`). Snapshots do not say how much noise there is, so the number is yours. With
    ``branching``, forward in time only, cells divide and die in place of carrying a mass. The expected number of cells
    is the mass of the run without.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    n_cells
        How many of the starting cells to follow, drawn at random; `None` follows all.
    start
        Where from: a time point (`None`: the first), as a number or by its label in ``time_map``, or cells of one time
        point as a boolean mask or positions. A position that comes twice is followed twice.
    times
        Times to keep, all after or all before the start and in order of travel; `None` goes from the start to the
        last time point in even steps. Times outside the observed range are an error: nothing was learned there.
    noise
        Standard deviation of the random steps along each axis, in units of the representation per square root of the
        unit of time. Where the fit was trained on fewer axes than the representation has, along those.
    branching
        Cells divide at the rate ``max(growth, 0)`` and die at the rate ``max(-growth, 0)``, the birth-death process
        with the fewest events for its growth. Without noise sisters stay together.
    condition
        After a fit with ``condition_key``, the condition under which cells are followed, whatever their own: cells of
        control under treatment, say. With a time point as ``start`` they are those of this condition. `None` takes
        their own, if ``start`` names cells that are all of one, or ``adata`` holds no others.
    key
        The fit's ``key_added``.
    seed
        Of all that is drawn.
    tol
        Of a deterministic run: error allowed in one step of the adaptive integrator (Dormand-Prince, order 5), root
        mean square over cells, as a share of the data's spread.
    step
        Of a run with noise or branching: longest step of the stochastic Heun method, as a share of the mean interval
        between time points. Steps are shorter where the noise asks for it.
    device
        Where to follow the cells, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    `None`. Sets the following field:

    ``adata.uns["vgfm"]["trajectories"]`` : :class:`dict`
        ``times``, shape ``(n_times,)``, the start first; ``positions``, float32, shape ``(n_times, n, d)``, in units
        of the representation; ``mass``, float32, shape ``(n_times, n)``, 1 at the start; ``cells``, names of the
        cells, shape ``(n,)``; ``n_start``, the number of cells followed; ``share``, of the cells of that time point
        that could be drawn; ``mean_mass``, shape ``(n_times,)``, of the cells that could be drawn, or of the 10,000
        first drawn of more; ``condition``, where the fit has conditions. Read it with `vgfm_sc.get.trajectories`. It
        takes the place of an earlier run and of what `vgfm_sc.tl.annotate` and `vgfm_sc.tl.project` have added to that
        one.

        With ``branching`` the first ``n_start`` of the ``n`` columns are the cells followed, the others their
        descendants in order of birth. ``mass`` is 1 while a cell lives and 0 before its birth and after its death;
        ``positions`` are those of its mother before its birth and stay where it died; ``cells`` names the observed
        cell that it descends from. ``parent``, int32, shape ``(n,)``, is the column of its mother, -1 for the first
        ``n_start``. One cell has become ``mass.sum(axis=1) / n_start`` on average, with branching or without.

    Raises
    ------
    KeyError
        No fit under ``key``.
    ValueError
        ``start``, ``times`` or a number cannot be used; the message says what is there. ``noise`` is so large that it
        would take more than 20,000 steps, or the fit has no score. Or the positions of all cells at all times take more
        than 2 GB.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.simulate(adata)

    From the cells of one cluster, some noise, and division and death:

    >>> some = (adata.obs["time"] == 1) & (adata.obs["cell_type"] == "progenitor")
    >>> vgfm_sc.tl.simulate(adata, start=some, noise=0.1, branching=True)
    """
    condition = condition_to_follow(adata, start, condition, key)
    _, snapshots, model = model_and_cells(adata, key, device, condition)
    cells, first = _cells.starting(snapshots, start)
    grid = _grid(snapshots, first, times)
    _checks.real("tol", tol)
    _checks.seed(seed)
    by_chance = bool(noise or branching)
    _checks.real("step", step)
    check_noise(noise, model)
    if branching and grid[-1] < first:
        msg = "A run with branching goes forward only. Leave branching out to go backward, or pass later times."
        raise ValueError(msg)
    name = _anndata.condition_meant(adata, key, condition)
    share = len(np.unique(cells)) / _n_at(snapshots, first, name)
    rng = np.random.default_rng(seed)
    candidates, cells = cells, _cells.drawn(cells, n_cells, rng)
    x = snapshots.x[cells]
    trajectories: dict[str, Any] = {"times": grid, "n_start": len(cells), "share": share}
    if name is not None:
        trajectories["condition"] = name
    if by_chance:
        own = int(rng.integers(2**63))
        paths = chance.follow(model, x, grid, noise=noise, branching=branching, step=step, seed=own)
        positions, mass, cells = paths.positions, paths.mass, cells[paths.founder]
        if branching:
            trajectories["parent"] = paths.parent.astype(np.int32)
    else:
        chance.check_size(len(x), len(grid), x.shape[1], f"{len(x):,} cells are followed")
        positions, mass = np.empty((len(grid), *x.shape), np.float32), np.empty((len(grid), len(x)))
        for block, at, weight in model.followed(x, grid, tol=tol):
            positions[:, block], mass[:, block] = at, weight
    sampled = len(cells) < len(candidates) and not by_chance
    some = snapshots.x[_cells.drawn(candidates, MOST_FOR_MEAN, rng)] if sampled else None
    trajectories["mean_mass"] = mass.sum(axis=1) / len(x) if some is None else _mean_mass(model, some, grid, tol)
    trajectories |= {
        "positions": positions.astype(np.float32, copy=False),
        "mass": mass.astype(np.float32, copy=False),
        "cells": np.asarray(adata.obs_names[cells], dtype=str),
    }
    _anndata.write_derived(adata, key, {}, trajectories=trajectories)


def _mean_mass(model: Model, x: np.ndarray, grid: np.ndarray, tol: float) -> np.ndarray:
    blocks = np.split(x, range(BLOCK_FOR_MEAN, len(x), BLOCK_FOR_MEAN))
    return sum(model.simulate(block, grid, tol=tol)[1].sum(axis=1) for block in blocks) / len(x)


def _n_at(snapshots: _anndata.Snapshots, first: float, condition: str | None) -> int:
    """Cells at time ``first``, where there are conditions those of the course of one, if it has any there."""
    k = int(np.abs(snapshots.time_points - first).argmin())
    own = len(snapshots.rows[k]) if condition is not None and snapshots.time_points[k] == first else 0
    return own or int((snapshots.time == first).sum())


def _grid(snapshots: _anndata.Snapshots, first: float, times: Sequence[float | str] | None) -> np.ndarray:
    points = snapshots.time_points
    if times is None:
        if first == points[-1]:
            msg = f"Time {first:g} is the last. Name earlier times to go backward, for example times=[{points[0]:g}]."
            raise ValueError(msg)
        later = np.concatenate([[first], points[points > first]])
        parts = [np.linspace(a, b, POINTS_PER_INTERVAL + 1)[1:] for a, b in zip(later[:-1], later[1:], strict=True)]
        return np.concatenate([[first], *parts])
    grid = _cells.numbers(times, "times", snapshots, between=True)
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
