"""Where cells end up, and where they come from: labels at an end of the time course, carried along the flow.

Cells are followed forward in both cases. A flow that gathers cells as time goes on drives them apart backward, and with
them whatever is noise.
"""

from __future__ import annotations

import numpy as np

from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.neighbours import kernel
from vgfm_sc.core.reading.projection import carry, searched

SURROUNDINGS = 10
"""Cells that a cell is judged by, itself among them: with fewer fates are surer than they are right, with more those of
the cells that multiply spread to others (docs/benchmarks.md, Fates)."""

LEAST_MASS = 1e-20
"""Share of the largest mass that counts at least: in single precision a place that only dying cells reach would
otherwise be reached by none."""


def fates(
    model: Model, x: np.ndarray, time: np.ndarray, target: float, labels: np.ndarray, *, tol: float, seed: int
) -> np.ndarray:
    """Probability of each label at the last time, ``target``, among the descendants of every cell.

    A cell is followed to the end, where the labelled cells around it say what it has become. The flow leads to one
    place, but a cell is known only up to its surroundings, and so is the line between those that go one way and those
    that go another: each cell is judged together with its nearest, and each of these counts as the mass it reaches.

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
        Of the cells that are searched for neighbours, in large snapshots.

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
        for first in range(0, len(rows), BLOCK_CELLS):
            part = slice(first, first + BLOCK_CELLS)
            positions, masses = model.simulate(x[rows[part]], [t, target], tol=tol)
            shares[rows[part]] = carry(x[known], is_of, positions[-1], model.scaling, seed)
            mass[part] = masses[-1]
        if t != target:
            place = model.scaling.to_unitless(x[rows])
            shares[rows] = over_surroundings(place, shares[rows], mass / mass.max(), seed)
    return shares / shares.sum(axis=1, keepdims=True)


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
    some = searched(len(x), seed)
    x = x.astype(np.float32)
    near = kernel(x, x[some], SURROUNDINGS)
    rows = np.repeat(np.arange(len(x)), np.diff(near.indptr))
    near.data[some[near.indices] == rows] = 0  # the cell itself, searched or not, counts once
    held = weight[:, None]
    total = near @ (held * values)[some] + held * values
    return total / (near @ held[some] + held)
