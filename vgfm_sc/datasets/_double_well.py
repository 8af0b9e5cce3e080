"""A potential with two wells, division beside one of them, and what that leads to, solved backward on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import sparse
from scipy.interpolate import RegularGridInterpolator
from scipy.sparse.linalg import splu, spsolve
from scipy.special import exprel

STEEPNESS = 0.9
"""Of the potential in the plane of the wells; its saddle is four times that high."""

STIFFNESS = 10.0
"""Of the potential along every other axis."""

DIVISION_RATE = 2.5
"""Of a cell at the saddle; twice that far on the right, 0 far on the left."""

GRID = (121, 65)
"""Nodes along and across the diagonal through the wells."""

REACH = (3.0, 2.2)
"""Of the grid to either side, along and across the diagonal."""

GRID_STEP = 1 / 80
"""Of time, at most."""

ARRIVED = 0.25
"""Distance from a well at which a cell's fate is decided."""


def potential(x: np.ndarray) -> np.ndarray:
    """Shape ``(n,)``."""
    from_right, from_left = (((x[:, :2] - side) ** 2).sum(axis=1) for side in (1, -1))
    return STEEPNESS * from_right * from_left + STIFFNESS * (x[:, 2:] ** 2).sum(axis=1)


def drift(x: np.ndarray) -> np.ndarray:
    """Minus the gradient of the potential, shape ``(n, d)``."""
    to_right, to_left = 1 - x[:, :2], -1 - x[:, :2]
    from_right, from_left = ((to**2).sum(axis=1, keepdims=True) for to in (to_right, to_left))
    return np.hstack([2 * STEEPNESS * (to_right * from_left + to_left * from_right), -2 * STIFFNESS * x[:, 2:]])


def division_rate(x1: np.ndarray) -> np.ndarray:
    """Per unit of time, by the first coordinate."""
    return DIVISION_RATE * (1 + np.tanh(2 * x1))


def fate(noise: float, x: np.ndarray) -> np.ndarray:
    """Probability to come to the right well before the left one, without division, shape ``(n,)``."""
    return np.clip(_committor(noise)(_on_grid(x)), 0, 1)  # beyond by rounding alone


def numbers(noise: float, durations: Sequence[float], snapshots: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Expected numbers of descendants on the right, and in all, of the cells of each snapshot; shapes ``(n, 2)``.

    Durations, from a snapshot to the time when descendants are counted, fall.
    """
    found = _numbers(noise, tuple(durations))
    return [on_grid(_on_grid(x)) for on_grid, x in zip(found, snapshots, strict=True)]


@lru_cache(maxsize=8)
def _committor(noise: float) -> RegularGridInterpolator:
    nodes, x, generator = _walk(noise)
    at_right, at_left = (np.hypot(*(x - side).T) < ARRIVED for side in (1, -1))
    decided = 1.0 * (at_right | at_left)
    equations = sparse.diags_array(1 - decided) @ generator + sparse.diags_array(decided)
    return RegularGridInterpolator(nodes, spsolve(equations.tocsc(), 1.0 * at_right).reshape(GRID))


@lru_cache(maxsize=8)
def _numbers(noise: float, durations: tuple[float, ...]) -> list[RegularGridInterpolator]:
    """By diagonally implicit steps, of second order and L-stable."""
    nodes, x, generator = _walk(noise)
    change = (generator + sparse.diags_array(division_rate(x[:, 0]))).tocsc()
    now = np.column_stack([np.repeat(np.heaviside(nodes[0], 0.5), GRID[1]), np.ones(len(x))])
    found, implicit = [], 1 - np.sqrt(0.5)
    for duration in np.diff([0.0, *durations[::-1]]):
        n_steps = int(np.ceil(duration / GRID_STEP))
        h = duration / n_steps
        solve = splu((sparse.eye_array(len(x)) - implicit * h * change).tocsc()).solve
        for _ in range(n_steps):
            first = solve(change @ now)
            second = solve(change @ (now + (1 - implicit) * h * first))
            now = now + h * ((1 - implicit) * first + implicit * second)
        found.append(RegularGridInterpolator(nodes, now.reshape(*GRID, 2)))
    return found[::-1]


def _on_grid(x: np.ndarray) -> np.ndarray:
    """Coordinates along and across the diagonal, no farther out than the grid, shape ``(n, 2)``."""
    turned = np.column_stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]]) / np.sqrt(2)
    return np.clip(turned, -np.array(REACH), REACH)


def _walk(noise: float) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, sparse.csr_array]:
    """The diffusion of the first two axes as a random walk on a grid, after Scharfetter and Gummel.

    Returns the nodes along and across the diagonal, dense about the saddle, where fates part; their positions; and the
    rates of steps.
    """
    spread = np.arcsinh(2 * REACH[0] / noise) * np.linspace(-1, 1, GRID[0])
    nodes = noise / 2 * np.sinh(spread), np.linspace(-REACH[1], REACH[1], GRID[1])
    nodes[0][[0, -1]] = -REACH[0], REACH[0]  # without rounding
    along, across = (c.ravel() / np.sqrt(2) for c in np.meshgrid(*nodes, indexing="ij"))
    x, diffusion = np.column_stack([along + across, along - across]), noise**2 / 2
    index, rows, columns, rates = np.arange(len(x)).reshape(GRID), [], [], []
    for ids, line in ((index, nodes[0]), (index.T, nodes[1])):
        gap, width = np.diff(line)[:, None], np.gradient(line)[:, None]
        climb = np.diff(potential(x)[ids], axis=0) / diffusion
        rows += [ids[:-1].ravel(), ids[1:].ravel()]
        columns += [ids[1:].ravel(), ids[:-1].ravel()]
        rates += [(diffusion / exprel(c) / gap / w).ravel() for c, w in ((climb, width[:-1]), (-climb, width[1:]))]
    steps = (np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns)))
    walk = sparse.csr_array(steps, shape=(len(x), len(x)))
    return nodes, x, walk - sparse.diags_array(walk.sum(axis=1))
