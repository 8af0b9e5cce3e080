"""Processes with a known truth: a population at any time, its cells and their growth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import vgfm_sc

POOL = 40
"""Cells simulated on a tree per cell of the first snapshot."""

ARMS = np.array([[0.6, 1.0, 0.0], [0.8, -0.8, 0.5], [1.0, 0.0, -1.2]])
"""Directions of the branches of a tree, whose trunk is the first axis from 0 to 1."""

SHARES = (0.4, 0.35, 0.25)
"""Of the first cells, by the branch that they go to."""

RATES = np.array([1.0, 0.0, -0.6])
"""Growth on the branches, reached at about 1.3 along the way; before that it is `EARLY`."""

EARLY = 0.3
"""Growth on the trunk."""


class Drawn(NamedTuple):
    """A population at one time: positions, shape ``(n, d)``, growth rates, and its true total."""

    x: np.ndarray
    g: np.ndarray
    total: float


Process = Callable[[Sequence[float], int, int, int], list[Drawn]]
"""(times, cells at the first time, dimensions, seed) -> the population at each time."""


def branching(clock: Callable[[float], tuple[float, float]]) -> Process:
    """The branching process; ``clock`` says how far it is at a time, and how fast it goes then."""

    def draw(times: Sequence[float], n_cells: int, n_dims: int, seed: int) -> list[Drawn]:
        at, speed = np.transpose([clock(t) for t in times])
        since = at if at[0] == 0 else np.concatenate([[0.0], at])
        adata = vgfm_sc.datasets.branching(n_cells=n_cells, n_dims=n_dims, times=since, seed=seed, space_seed=0)
        found = []
        for one, fast in zip(at, speed, strict=True):
            cells = adata[adata.obs["time"] == one]
            growth = fast * cells.obs["true_growth"].to_numpy()
            found.append(Drawn(cells.obsm["X_state"], growth, cells.n_obs / n_cells))
        return found

    return draw


def winding(times: Sequence[float], n_cells: int, n_dims: int, seed: int) -> list[Drawn]:
    """Two groups, opposite each other on a circle, that grow at rates of their own."""
    rng, found = np.random.default_rng(seed), []
    for t in times:
        sizes = n_cells / 2 * np.exp(np.array([0.15, -0.05]) * t)
        side = np.repeat([1.0, -1.0], np.round(sizes).astype(int))
        angle = 0.1 * np.pi * t
        x = 0.3 * rng.standard_normal((len(side), n_dims))
        x[:, :2] += 2 * side[:, None] * [np.cos(angle), np.sin(angle)]
        found.append(Drawn(x, np.where(side > 0, 0.15, -0.05), sizes.sum() / n_cells))
    return found


def settling(times: Sequence[float], n_cells: int, n_dims: int, seed: int) -> list[Drawn]:
    """Two groups that come to rest, and grow at rates of their own."""
    rng, found = np.random.default_rng(seed), []
    rates = np.full(n_dims, 0.1)
    rates[0] = 1.0
    for t in times:
        sizes = n_cells / 2 * np.exp(np.array([0.05, -0.01]) * t)
        side = np.repeat([1.0, -1.0], np.round(sizes).astype(int))
        rest = np.zeros((len(side), n_dims))
        rest[:, -1] = 2 * side
        away = (3 * (np.arange(n_dims) < 2) + 0.3 * rng.standard_normal(rest.shape)) * np.exp(-rates * t)
        still = 0.1 * rng.standard_normal(rest.shape)
        found.append(Drawn(rest + away + still, np.where(side > 0, 0.05, -0.01), sizes.sum() / n_cells))
    return found


def tree(wait: float) -> Process:
    """Cells on a trunk that splits in three; they leave the start after a random time with the mean ``wait``."""

    def rate(along: np.ndarray, arm: np.ndarray) -> np.ndarray:
        return EARLY + (RATES[arm] - EARLY) / (1 + np.exp((1.3 - along) / 0.15))

    def draw(times: Sequence[float], n_cells: int, n_dims: int, seed: int) -> list[Drawn]:
        rng, found = np.random.default_rng(seed), []
        arm = rng.choice(3, POOL * n_cells, p=SHARES)
        start, speed = 0.3 * rng.standard_normal(len(arm)), 0.8 * np.exp(0.15 * rng.standard_normal(len(arm)))
        leaves = rng.exponential(wait, len(arm)) if wait else np.zeros(len(arm))
        for t in times:
            moved = np.maximum(t - leaves, 0)
            passed = start + speed * moved * np.linspace(0, 1, 41)[:, None]
            mass = np.exp((t - moved) * rate(start, arm) + moved * np.trapezoid(rate(passed, arm), dx=1 / 40, axis=0))
            seen = rng.choice(len(arm), round(n_cells * mass.mean()), p=mass / mass.sum())
            along, its = passed[-1, seen], arm[seen]
            x = 0.12 * rng.standard_normal((len(seen), n_dims))
            x[:, 0] += np.minimum(along, 1)
            x[:, :3] += np.maximum(along - 1, 0)[:, None] * ARMS[its]
            found.append(Drawn(x, rate(along, its), float(mass.mean())))
        return found

    return draw
