from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.spatial import KDTree

from vgfm_sc import _checks
from vgfm_sc.datasets._fork import CONTROL, FORK, TREATED, Process, growth, varied, velocity
from vgfm_sc.datasets._fork import follow as _follow

PAST_ALL = 4.0
"""Time after which no cell is before the fork."""

START_SD = (0.15, 0.3, 0.5)
"""Spread of the start along the first axis, the second and each of the others."""

Treatment = Literal["growth", "fate", "none"]


POOL = 20
"""Simulated cells for one of the first time: few are drawn twice, and drawing some leaves enough like them."""

POOL_TREATED = 5 * POOL
"""The same of treated cells, which may multiply more."""

EXPRESSION_NOISE = 0.3


def branching(
    *,
    n_cells: int = 500,
    n_dims: int = 10,
    times: Sequence[float] = (0.0, 1.0, 2.0, 3.0),
    n_genes: int | None = None,
    n_growth_genes: int = 20,
    n_clones: int | None = None,
    treatment: Treatment | None = None,
    n_samples: int | None = None,
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
    treatment
        With one, there are as many treated cells as control cells at the first time, from the same distribution, and
        what is done to them: ``"growth"`` doubles the growth of fate a, ``"fate"`` leads 70% of them to fate a in place
        of 50%, ``"none"`` changes nothing. Control cells are those of the same call without a treatment.
    n_samples
        With a number, the cells of each time and condition come from that many samples, as if from animals that are
        each sampled once. Samples differ by 5% (standard deviation) in the growth of fate a, by 10% in their numbers of
        cells at the start, and by a twentieth of the effect of ``treatment="fate"`` in where cells go.
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
    ``obs["condition"]``
        With a ``treatment``: ``"control"`` or ``"treated"``; what is true of a cell is so in its condition.
    ``obs["sample"]``
        With ``n_samples``: the sample that the cell is from. Growth and velocity are those of the mean sample.
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
    if treatment is not None and treatment not in get_args(Treatment):
        msg = f"treatment must be one of {list(get_args(Treatment))} or None, got {treatment!r}."
        raise ValueError(msg)
    if n_samples is not None:
        _checks.whole("n_samples", n_samples)
    rng = np.random.default_rng(seed)
    parts = [_cells(points, n_cells, n_dims, CONTROL, POOL, rng, n_samples)]
    if treatment is not None:
        own = np.random.default_rng([seed, 2])
        parts.append(_cells(points, n_cells, n_dims, TREATED[treatment], POOL_TREATED, own, n_samples))
    state, start, v = (np.concatenate([getattr(part, name) for part in parts]) for name in ("state", "start", "v"))
    obs = pd.concat([part.obs for part in parts], ignore_index=True)
    obs.index = pd.Index([f"cell{k}" for k in range(len(state))])
    if treatment is not None:
        obs["condition"] = pd.Categorical(np.repeat(["control", "treated"], [len(part.state) for part in parts]))
    if n_samples is not None:
        names = obs["time"].map("{:g}".format) + "_" + obs["sample"].astype(str)
        obs["sample"] = pd.Categorical(names if treatment is None else obs["condition"].astype(str) + "_" + names)
    if n_clones is not None:
        obs["true_clone"] = _clones(start, n_clones, seed)
    space = rng if space_seed is None else np.random.default_rng(space_seed)
    rotation = np.linalg.qr(space.standard_normal((n_dims, n_dims)))[0]  # no axis of the data is an axis of the model
    x, v = state @ rotation, v @ rotation
    if n_genes is None:
        adata = AnnData(x.astype(np.float32), obs=obs)
    else:
        adata = _expression(x, obs, n_genes, n_growth_genes, rng)
    adata.obsm["X_state"], adata.obsm["true_velocity"] = x, v
    return adata


class Cells(NamedTuple):
    """``state``, ``start`` and velocity ``v``, each of shape ``(n, d)``, and the rows of ``obs``."""

    state: np.ndarray
    start: np.ndarray
    v: np.ndarray
    obs: pd.DataFrame


def _cells(
    points: np.ndarray,
    n_cells: int,
    n_dims: int,
    process: Process,
    pool: int,
    rng: np.random.Generator,
    n_samples: int | None,
) -> Cells:
    """Snapshots of one condition, ``n_cells`` at the first of ``points``; of each, ``pool`` as many are simulated."""
    snapshots, starts, samples = [], [], []
    for t in points:
        for sample in range(n_samples or 1):
            own, size = (process, 1.0) if n_samples is None else varied(process, rng)
            its = n_cells if n_samples is None else max(1, round(n_cells * size / n_samples))
            start = _start(pool * its, n_dims, rng)
            state, log_m = _follow(start, t - points[0], own)
            mass = np.exp(log_m)
            n = round(its * mass.mean())
            kept = rng.choice(len(state), n, p=mass / mass.sum(), replace=n > len(state))
            snapshots.append(state[kept])
            starts.append(start[kept])
            samples.append((t, sample))
    counts = [len(snapshot) for snapshot in snapshots]
    state = np.concatenate(snapshots)
    cell_type = np.where(state[:, 0] < FORK + 0.5, "progenitor", np.where(state[:, 1] > 0, "fate_a", "fate_b"))
    ends = _follow(state, PAST_ALL, process)[0] if process.push else state  # without it no cell changes sides
    obs = pd.DataFrame(
        {
            "time": np.repeat([t for t, _ in samples], counts),
            "cell_type": pd.Categorical(cell_type, categories=["progenitor", "fate_a", "fate_b"]),
            "true_fate": pd.Categorical(np.where(ends[:, 1] > 0, "fate_a", "fate_b"), categories=["fate_a", "fate_b"]),
            "true_growth": growth(state, process),
        }
    )
    if n_samples is not None:
        obs["sample"] = np.repeat([sample for _, sample in samples], counts)
    return Cells(state, np.concatenate(starts), velocity(state, process), obs)


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
