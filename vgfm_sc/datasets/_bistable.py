from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _checks
from vgfm_sc.datasets import _double_well

START_SPREAD = 0.1
"""Standard deviation of the starting cells along every axis."""

STEP = 1 / 800
"""Of time, at most."""

MOST_NOISE = 2.0
"""With more, cells cross the saddle at will."""

MOST_CELLS = 1_000_000
"""Of one snapshot; on the right, numbers grow 140-fold in a unit of time."""


def bistable(
    *,
    n_cells: int = 1000,
    n_dims: int = 10,
    times: Sequence[float] = (0.0, 0.125, 0.25, 0.375, 0.5),
    noise: float = 0.5,
    seed: int = 0,
) -> AnnData:
    """Cells that fall by chance from a saddle into one of two wells, and divide on the side of one of them.

    The benchmark of :cite:p:`Zhang25b`: cells follow ``dx = -grad V dt + noise dB``, where the potential ``V`` is
    ``0.9 |p - a|^2 |p - b|^2`` of the first two axes ``p``, with wells at ``a = (1, 1)`` and ``b = (-1, -1)``, plus
    ``10 x_i^2`` for every other axis. They divide at the rate ``2.5 (1 + tanh 2 x_1)`` and never die. Every snapshot is
    a population of its own, started at the saddle with standard deviation 0.1. As published are 500 cells and five
    times between 0 and 1, some 30,000 cells in all; with the defaults here more cells start, the last time is earlier,
    and there are some 12,000.

    Parameters
    ----------
    n_cells
        Cells at the first time.
    n_dims
        Dimensions of the state, at least 2.
    times
        Times of the snapshots, increasing; spacing may be uneven.
    noise
        Standard deviation, after one unit of time, of a cell that only wanders; at most 2.
    seed
        Of the simulation.

    Returns
    -------
    Annotated data with ``X``, the state, and

    ``obs["time"]``, ``obs["well"]``
        Time; and the side of the saddle, ``"left"`` or ``"right"``.
    ``obs["true_growth"]``
        d log m/dt.
    ``obs["true_fate"]``
        Probability that a cell from here that does not divide comes to the right well before the left one.
    ``obs["true_descendants"]``
        Expected number of a cell's descendants on the right at the last time, as a share of all its descendants then.
    ``obsm["X_state"]``, ``obsm["true_drift"]``
        State, and ``-grad V`` per unit of time; shape ``(n_obs, n_dims)``.
    ``uns["noise"]``
        As given.
    """
    points = np.asarray(times, dtype=float)
    _checks.whole("n_cells", n_cells)
    _checks.whole("n_dims", n_dims, least=2)
    _checks.real("noise", noise)
    if noise > MOST_NOISE:
        msg = f"noise must be at most {MOST_NOISE:g}, got {noise!r}."
        raise ValueError(msg)
    if len(points) < 1 or not (np.isfinite(points).all() and (np.diff(points) > 0).all()):
        msg = f"bistable needs increasing times, got {list(times)}."
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    snapshots = []
    for t in points:
        start = START_SPREAD * rng.standard_normal((n_cells, n_dims))
        snapshots.append(_follow(start, t - points[0], noise, rng))
    state = np.concatenate(snapshots)
    right = state[:, 0] + state[:, 1] > 0
    noise = float(noise)
    expected = _double_well.numbers(noise, points[-1] - points[:-1], snapshots[:-1])
    shares = [*(np.divide(*numbers.T) for numbers in expected), 1.0 * right[-len(snapshots[-1]) :]]
    obs = pd.DataFrame(
        {
            "time": np.repeat(points, [len(x) for x in snapshots]),
            "well": pd.Categorical(np.where(right, "right", "left"), categories=["left", "right"]),
            "true_growth": _double_well.division_rate(state[:, 0]),
            "true_fate": _double_well.fate(noise, state),
            "true_descendants": np.concatenate(shares),
        },
        index=[f"cell{k}" for k in range(len(state))],
    )
    adata = AnnData(state.astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"dim{k}" for k in range(n_dims)]))
    adata.obsm["X_state"], adata.obsm["true_drift"] = state, _double_well.drift(state)
    adata.uns["noise"] = noise
    return adata


def _follow(x: np.ndarray, duration: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The population after ``duration``, by the method of Euler and Maruyama."""
    n_steps = int(np.ceil(duration / STEP))
    h = duration / max(1, n_steps)
    for _ in range(n_steps):
        expected = np.exp(h * _double_well.division_rate(x[:, 0]))  # cells at the end of the step, of each
        x = np.concatenate([x, x[rng.random(len(x)) < expected - 1]])
        if len(x) > MOST_CELLS:
            msg = f"More than {MOST_CELLS:,} cells by time {duration:g} from the first: lower n_cells or the times."
            raise ValueError(msg)
        x = x + h * _double_well.drift(x) + np.sqrt(h) * noise * rng.standard_normal(x.shape)
    return x
