"""Where cells end up, and where they come from: labels at an end of the time course, carried along the flow.

Cells are followed forward in both cases. A flow that gathers cells as time goes on drives them apart backward, and with
them whatever is noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vgfm_sc.core.dynamics import chance
from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.neighbours import kernel
from vgfm_sc.core.reading.projection import carry, searched

SURROUNDINGS = 10
"""Cells that a cell is judged by, itself among them: with fewer fates are surer than they are right, with more those of
the cells that multiply spread to others (docs/benchmarks/growth.md, Fates)."""

LEAST_MASS = 1e-20
"""Share of the largest mass that counts at least: in single precision a place that only dying cells reach would
otherwise be reached by none."""


STEP = 0.05
"""Longest step of runs with noise, as a share of a mean interval."""


class Runs(NamedTuple):
    """``n`` runs of every cell with ``noise``, in units of the representation per square root of the unit of time."""

    noise: float
    n: int


def fates(
    model: Model,
    x: np.ndarray,
    time: np.ndarray,
    target: float,
    labels: np.ndarray,
    *,
    tol: float,
    seed: int,
    runs: Runs | None = None,
    descendants: bool = True,
) -> np.ndarray:
    """Probability of each label at the last time, ``target``, among the descendants of every cell.

    A cell is followed to the end, where the labelled cells around it say what it has become. The flow leads to one
    place, but a cell is known only up to its surroundings, and so is the line between those that go one way and those
    that go another: each cell is judged together with its nearest, and each of these counts as the mass it reaches.
    With ``runs`` every cell is followed so many times by chance, and each run counts as the mass it reaches.

    Parameters
    ----------
    model
        Whose flow is followed, and whose scaling says what is near.
    x, time
        Cells, shape ``(n, d)``, and their times, shape ``(n,)``.
    labels
        Numbers of the labels from 0, shape ``(n,)``; -1 in cells without one and in all that are not of ``target``.
    tol
        Of `Model.simulate`.
    seed
        Of the cells that are searched for neighbours, in large snapshots, and of the noise.
    runs
        With noise; without it cells are followed once.
    descendants
        Whether a course counts as the mass it reaches, else as one.

    Returns
    -------
    Shape ``(n, labels.max() + 1)``; rows sum to 1. Of ``target`` labelled cells have their own label, others the shares
    of those around them.
    """
    known = labels >= 0
    shares = np.eye(labels.max() + 1)[labels]  # of the labelled cells; those of others follow
    is_of = shares[known]
    for t in np.unique(time):
        rows = np.flatnonzero((time == t) & ~known)
        mass = np.ones(len(rows))
        at_once = BLOCK_CELLS if runs is None else max(1, BLOCK_CELLS // runs.n)
        for first in range(0, len(rows), at_once):
            part = slice(first, first + at_once)
            ends, reached = _followed(model, x[rows[part]], [t, target], tol=tol, runs=runs, seed=seed + first)
            found = carry(x[known], is_of, ends, model.scaling, seed)
            each = reached if descendants else np.ones_like(reached)
            per_cell = (len(reached) // len(rows[part]), -1)  # run after run, each of all cells
            mass[part] = each.reshape(per_cell).mean(axis=0)
            weighted = (each[:, None] * found).reshape(*per_cell, found.shape[1]).mean(axis=0)
            shares[rows[part]] = weighted / mass[part][:, None]
        if t != target:
            place = model.scaling.to_unitless(x[rows])
            shares[rows] = over_surroundings(place, shares[rows], mass / mass.max(), seed)
    return shares / shares.sum(axis=1, keepdims=True)


def _followed(
    model: Model, x: np.ndarray, times: list[float], *, tol: float, runs: Runs | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and masses at the last of ``times`` of cells ``x``, once or in as many runs one after another."""
    if runs is None or times[0] == times[1]:
        positions, masses = model.simulate(x, times, tol=tol)
        return positions[-1], masses[-1]
    paths = chance.follow(
        model, np.tile(x, (runs.n, 1)), times, noise=runs.noise, branching=False, step=STEP, seed=seed
    )
    return paths.positions[-1].astype(float), paths.mass[-1].astype(float)


def origins(
    model: Model, x: np.ndarray, time: np.ndarray, target: float, labels: np.ndarray, *, tol: float, seed: int
) -> np.ndarray:
    """Probability of each label at the first time, ``target``, of the ancestor of every cell; as `fates` otherwise.

    The labelled cells are followed from time to time, and a cell stems from those that arrive around it, each as likely
    as the mass it arrives with.
    """
    known = labels >= 0
    shares = np.eye(labels.max() + 1)[labels]
    is_of = shares[known]
    place, mass, now = x[known], np.ones(known.sum()), target
    for t in np.unique(time):
        positions, masses = model.simulate(place, [now, t], tol=tol)
        place, mass, now = positions[-1], mass * masses[-1], t
        rows = np.flatnonzero((time == t) & ~known)
        weight = np.maximum(mass / mass.max(), LEAST_MASS)
        shares[rows] = carry(place, weight[:, None] * is_of, x[rows], model.scaling, seed)
    return shares / shares.sum(axis=1, keepdims=True)


def over_surroundings(x: np.ndarray, values: np.ndarray, weight: np.ndarray, seed: int) -> np.ndarray:
    """Means of ``values``, shape ``(n, q)``, over each cell and those nearest to it, weighted by mass and nearness.

    ``x``, shape ``(n, d)``, is unitless, ``weight``, shape ``(n,)``, positive. Of large snapshots a sample is searched.
    """
    some = searched(x, seed)
    x = x.astype(np.float32)
    near = kernel(x, x[some], SURROUNDINGS)
    rows = np.repeat(np.arange(len(x)), np.diff(near.indptr))
    near.data[some[near.indices] == rows] = 0  # the cell itself, searched or not, counts once
    held = weight[:, None]
    total = near @ (held * values)[some] + held * values
    return total / (near @ held[some] + held)


def variance_over_surroundings(x: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """Variance of ``values``, shape ``(n, q)``, over each cell and those nearest to it, weighted by nearness.

    Otherwise as `over_surroundings`.
    """
    centred = values - values.mean(axis=0)
    both = np.column_stack([centred, centred**2])
    mean, of_squares = np.hsplit(over_surroundings(x, both, np.ones(len(x)), seed), 2)
    return np.maximum(of_squares - mean**2, 0)
