from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.spatial import KDTree

from vgfm_sc import _checks

PROGRESS_SPEED = 1.0
"""Along the first axis, per unit of time."""

FORK = 1.0
"""Progress at which the two fates part."""

SEPARATION = 2.0
"""Half the distance of the two fates, on the second axis."""

PARTING_RATE = 2.5
"""Of the second coordinate beyond the fork, per unit of time."""

SETTLING_RATE = 0.7
"""Of the other axes towards 0, per unit of time."""

GROWTH = {"progenitor": 0.2, "fate_a": 0.8, "fate_b": 0.0}
"""d log m/dt of each type where it is settled."""

START_SD = (0.15, 0.3, 0.5)
"""Spread of the start along the first axis, the second and each of the others."""

POOL = 20
"""Simulated cells for one that is kept: few are drawn twice."""

EXPRESSION_NOISE = 0.3


def branching(
    *,
    n_cells: int = 500,
    n_dims: int = 10,
    times: Sequence[float] = (0.0, 1.0, 2.0, 3.0),
    n_genes: int | None = None,
    n_growth_genes: int = 20,
    n_clones: int | None = None,
    seed: int = 0,
    space_seed: int | None = None,
) -> AnnData:
    """Progenitors that split into two fates, one of which multiplies; velocity, growth and fate are known.

    Cells follow a smooth velocity field and grow at a smooth rate, so snapshots are exact draws from the unnormalised
    density that solves the continuity equation ``dp/dt + div(p v) = g p``; each snapshot is an independent draw, its
    number of cells the total mass.

    Parameters
    ----------
    n_cells
        Cells at the first time.
    n_dims
        Dimensions of the state, at least 2.
    times
        Times of the snapshots, increasing; spacing may be uneven.
    n_genes
        With a number, ``X`` holds that many genes, a linear map of the state plus noise, as log-normalised expression
        is; without, ``X`` is the state.
    n_growth_genes
        Genes that follow the growth rate itself; the others follow random directions of the state.
    n_clones
        With a number, every cell carries the barcode of one of that many founders, drawn from the distribution that
        cells start from. A clone is the cells of the founder's fate that started nearest to it, so it spreads over the
        state, grows as its cells do, and is sampled anew at each time. Where a cell starts decides on its fate, so all
        cells of a clone have one.
    seed
        Of the cells, and of all else that is drawn.
    space_seed
        Of the directions that the process takes in space. Draws with the same ``space_seed`` and other seeds are fresh
        cells of one process; `None` gives each ``seed`` directions of its own.

    Returns
    -------
    Annotated data with

    ``obs["time"]``, ``obs["cell_type"]``, ``obs["true_fate"]``
        Time; ``"progenitor"``, ``"fate_a"`` or ``"fate_b"``; and the fate a cell is heading for.
    ``obs["true_growth"]``
        d log m/dt.
    ``obs["true_clone"]``
        With ``n_clones``: the founder that the cell descends from.
    ``obsm["X_state"]``, ``obsm["true_velocity"]``
        State and its velocity, shape ``(n_obs, n_dims)``.
    ``var["growth_gene"]``
        With ``n_genes``: the genes that follow growth.
    """
    points = np.asarray(times, dtype=float)
    _checks.whole("n_cells", n_cells)
    if n_genes is not None and n_genes < n_growth_genes:
        msg = f"n_genes={n_genes} is less than n_growth_genes={n_growth_genes}."
        raise ValueError(msg)
    if n_dims < 2 or len(points) < 1 or not (np.isfinite(points).all() and (np.diff(points) > 0).all()):
        msg = f"branching needs n_dims >= 2 and increasing times, got n_dims={n_dims}, times={list(times)}."
        raise ValueError(msg)
    if n_clones is not None:
        _checks.whole("n_clones", n_clones)
    rng = np.random.default_rng(seed)
    snapshots, starts = [], []
    for t in points:
        start = _start(POOL * n_cells, n_dims, rng)
        state, log_m = _follow(start, t - points[0])
        mass = np.exp(log_m)
        n = round(n_cells * mass.mean())
        kept = rng.choice(len(state), n, p=mass / mass.sum(), replace=n > len(state))
        snapshots.append(state[kept])
        starts.append(start[kept])
    state = np.concatenate(snapshots)
    cell_type = np.where(state[:, 0] < FORK + 0.5, "progenitor", np.where(state[:, 1] > 0, "fate_a", "fate_b"))
    obs = pd.DataFrame(
        {
            "time": np.repeat(points, [len(s) for s in snapshots]),
            "cell_type": pd.Categorical(cell_type, categories=["progenitor", "fate_a", "fate_b"]),
            "true_fate": pd.Categorical(np.where(state[:, 1] > 0, "fate_a", "fate_b")),
            "true_growth": growth(state),
        },
        index=[f"cell{k}" for k in range(len(state))],
    )
    if n_clones is not None:
        obs["true_clone"] = _clones(np.concatenate(starts), n_clones, seed)
    space = rng if space_seed is None else np.random.default_rng(space_seed)
    rotation = np.linalg.qr(space.standard_normal((n_dims, n_dims)))[0]  # no axis of the data is an axis of the model
    x, v = state @ rotation, velocity(state) @ rotation
    if n_genes is None:
        adata = AnnData(x.astype(np.float32), obs=obs)
    else:
        adata = _expression(x, obs, n_genes, n_growth_genes, rng)
    adata.obsm["X_state"], adata.obsm["true_velocity"] = x, v
    return adata


def _start(n: int, n_dims: int, rng: np.random.Generator) -> np.ndarray:
    """States that cells start from, shape ``(n, n_dims)``."""
    start = np.zeros((n, n_dims))
    start[:, 0] = START_SD[0] * rng.standard_normal(n)
    start[:, 1] = START_SD[1] * rng.standard_normal(n)
    start[:, 2:] = START_SD[2] * rng.standard_normal((n, n_dims - 2))
    return start


def _clones(start: np.ndarray, n_clones: int, seed: int) -> pd.Categorical:
    """Barcodes of cells that started at ``start``, shape ``(n, d)``: of the nearest founder that has their fate.

    Founders have a generator of their own, so that the cells are the same with and without clones.
    """
    d = start.shape[1]
    founders = _start(n_clones, d, np.random.default_rng([seed, 1]))
    scale = np.repeat(START_SD, (1, 1, d - 2))

    def place(x: np.ndarray) -> np.ndarray:
        return np.column_stack([x / scale, 1e6 * (x[:, 1] > 0)])  # one of the other fate only where there is no other

    nearest = KDTree(place(founders)).query(place(start))[1]
    return pd.Categorical.from_codes(nearest, [f"clone{k}" for k in range(n_clones)]).remove_unused_categories()


def velocity(state: np.ndarray) -> np.ndarray:
    """Per unit of time, shape ``(n, d)``: on along the first axis, apart on the second past the fork."""
    v = -SETTLING_RATE * state
    v[:, 0] = PROGRESS_SPEED
    y = state[:, 1]
    v[:, 1] = PARTING_RATE * _past_fork(state) * y * (1 - (y / SEPARATION) ** 2)
    return v


def growth(state: np.ndarray) -> np.ndarray:
    """D log m/dt, shape ``(n,)``: that of the progenitor before the fork, of the nearer fate after it."""
    nearer_a = 1 / (1 + np.exp(-4 * state[:, 1] / SEPARATION))
    fate = GROWTH["fate_a"] * nearer_a + GROWTH["fate_b"] * (1 - nearer_a)
    past = _past_fork(state)
    return (1 - past) * GROWTH["progenitor"] + past * fate


def _past_fork(state: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-6 * (state[:, 0] - FORK)))


def _follow(state: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """State and log mass after ``duration``: classical Runge-Kutta in steps of at most 0.02."""
    n_steps = int(np.ceil(duration / 0.02))
    h, log_m = duration / max(1, n_steps), np.zeros(len(state))
    for _ in range(n_steps):
        v1 = velocity(state)
        s2 = state + h / 2 * v1
        v2 = velocity(s2)
        s3 = state + h / 2 * v2
        v3 = velocity(s3)
        s4 = state + h * v3
        log_m = log_m + h / 6 * (growth(state) + 2 * growth(s2) + 2 * growth(s3) + growth(s4))
        state = state + h / 6 * (v1 + 2 * v2 + 2 * v3 + velocity(s4))
    return state, log_m


def _expression(
    x: np.ndarray, obs: pd.DataFrame, n_genes: int, n_growth_genes: int, rng: np.random.Generator
) -> AnnData:
    loadings = rng.standard_normal((x.shape[1], n_genes)) / np.sqrt(x.shape[1])
    expression = x @ loadings
    follows = np.zeros(n_genes, dtype=bool)
    follows[rng.choice(n_genes, n_growth_genes, replace=False)] = True
    rate = obs["true_growth"].to_numpy()
    expression[:, follows] = ((rate - rate.mean()) / rate.std())[:, None] * (0.5 + rng.random(n_growth_genes))
    expression += EXPRESSION_NOISE * rng.standard_normal(expression.shape)
    expression += -expression.min(axis=0)  # log expression is not negative
    var = pd.DataFrame({"growth_gene": follows}, index=[f"gene{k}" for k in range(n_genes)])
    return AnnData(expression.astype(np.float32), obs=obs, var=var)
