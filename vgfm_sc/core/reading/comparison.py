"""Two conditions compared: what their models say of the same cells, and where their own starting cells end up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.reading.effects import LEVEL, Tested
from vgfm_sc.core.reading.perturbation import Ends
from vgfm_sc.core.reading.projection import carry


class Fields(NamedTuple):
    """Growth and velocity under two conditions at ``n`` cells, by ``r`` pairs of models.

    ``growth``: difference at each cell, shape ``(r, n)``. ``velocity``: mean difference over models, ``(n, d)``;
    ``scatter``: squared distance of the models' differences from it, summed over models and axes, ``(n,)``.
    ``growth_of``, ``velocity_of``: means over groups of cells under each condition, ``(r, 2, q)``, ``(r, 2, q, d)``.
    """

    growth: np.ndarray
    velocity: np.ndarray
    scatter: np.ndarray
    growth_of: np.ndarray
    velocity_of: np.ndarray


class Outcome(NamedTuple):
    """Of one condition, by ``r`` models.

    ``shares``: of clusters at the end, shape ``(r, n_clusters)``. ``mass``: of a mean starting cell, ``(r, n_times)``.
    """

    shares: np.ndarray
    mass: np.ndarray


def fields(models: Sequence[tuple[Model, Model]], time: np.ndarray, x: np.ndarray, weights: np.ndarray) -> Fields:
    """Cells ``x``, shape ``(n, d)``, at ``time``, shape ``(n,)``, under the first and the second of each pair.

    ``weights``: of each cell in the mean over each of ``q`` groups, shape ``(q, n)``, rows sum to 1.
    """
    growth, growth_of, velocity_of = [], [], []
    mean, scatter = np.zeros(x.shape), np.zeros(len(x))
    for k, pair in enumerate(models):
        (v0, g0), (v1, g1) = (model(time, x) for model in pair)
        growth.append(g1 - g0)
        growth_of.append([weights @ g0, weights @ g1])
        velocity_of.append([weights @ v0, weights @ v1])
        off = (v1 - v0) - mean  # Welford: the velocities of all models are never held
        mean += off / (k + 1)
        scatter += (off**2).sum(axis=1) * k / (k + 1)
    return Fields(np.stack(growth), mean, scatter, np.asarray(growth_of), np.asarray(velocity_of))


def outcome(
    models: Sequence[Model], x: np.ndarray, counts: np.ndarray, times: np.ndarray, ends: Ends, *, tol: float, seed: int
) -> Outcome:
    """Cells ``x``, shape ``(n, d)``, followed through ``times`` by each model, counted as ``counts``, ``(r, n)``."""
    shares, masses = [], []
    for model, count in zip(models, counts, strict=True):
        positions, mass = model.simulate(x, times, tol=tol)
        reached = carry(ends.x, ends.shares, np.asarray(positions[-1], dtype=float), model.scaling, seed)
        weight = count * mass[-1]
        shares.append(weight @ reached / weight.sum())
        masses.append(mass @ count / count.sum())
    return Outcome(np.stack(shares), np.stack(masses))


def tested_lengths(mean: np.ndarray, scatter: np.ndarray, r: int, freedom: float) -> Tested:
    """Lengths of mean vectors over ``r`` replicates, with 95% intervals and tests that they are 0.

    ``mean``: shape ``(q, d)``; ``scatter``: squared distances of the replicates from it, summed, shape ``(q,)``. Errors
    may all lie along one direction, so the square over its expectation without a difference follows at worst an F
    distribution with 1 and ``freedom`` degrees; with errors in more directions the test calls less than it may.
    """
    from scipy import stats  # half a second

    length = np.linalg.norm(mean, axis=1)
    if r < 2:
        unknown = np.full(len(length), np.nan)
        return Tested(length, unknown, unknown, unknown, unknown)
    error = np.sqrt(scatter / (r - 1) * (1 + 1 / r))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((length == 0) & (error == 0), 0, length / error)
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    return Tested(length, np.maximum(0, length - reach), length + reach, t, 2 * stats.t.sf(t, freedom))
