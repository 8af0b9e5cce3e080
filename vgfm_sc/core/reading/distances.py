"""How far simulated cells are from observed ones."""

from __future__ import annotations

import numpy as np
import ot
from scipy.spatial.distance import cdist

EMD_ITERATIONS = 10_000_000
"""The network simplex needs more pivots than POT's default for some thousand cells."""

BLOCK_NUMBERS = 2**22
"""Distances held at once."""

FLOOR_POINTS = 5000
"""In two dimensions W1 between the halves of one split varies by a tenth; of larger samples one split takes seconds."""


def wasserstein1(x: np.ndarray, y: np.ndarray, mass: np.ndarray | None = None) -> float:
    """Exact W1 (Euclidean cost) between ``x`` with weights ``mass`` and ``y`` with equal weights, totals normalised."""
    p = np.full(len(x), 1 / len(x)) if mass is None else mass / mass.sum()
    return float(ot.emd2(p, np.full(len(y), 1 / len(y)), ot.dist(x, y, metric="euclidean"), numItermax=EMD_ITERATIONS))


def sampling_floor(x: np.ndarray, most: int, rng: np.random.Generator) -> float:
    """Mean W1 between random halves of ``x``, at most ``most`` points each: what sampling makes of a distance.

    Of small samples one split says little: they are split until `FLOOR_POINTS` have been drawn.
    """
    half = min(len(x) // 2, most)
    splits = [rng.permutation(len(x))[: 2 * half] for _ in range(max(1, FLOOR_POINTS // half))]
    return float(np.mean([wasserstein1(x[order[:half]], x[order[half:]]) for order in splits]))


def energy_distance(x: np.ndarray, y: np.ndarray, mass: np.ndarray | None = None) -> float:
    """Unbiased estimate of 2 E|X - Y| - E|X - X'| - E|Y - Y'| between ``x`` with weights ``mass`` and ``y``.

    0 on average for two samples of one population, so it may be below 0; it needs no solver, and a population that has
    shrunk gains nothing by it (:cite:p:`Szekely13`).
    """
    w, v = (np.ones(len(x)) if mass is None else mass), np.ones(len(y))
    return 2 * _mean_distance(x, w, y, v) - _mean_distance(x, w) - _mean_distance(y, v)


def _mean_distance(x: np.ndarray, w: np.ndarray, y: np.ndarray | None = None, v: np.ndarray | None = None) -> float:
    """Mean of |x - y| over pairs by their weights; without ``y`` over pairs of two different points of ``x``."""
    to, of_to = (x, w) if y is None or v is None else (y, v)
    total = 0.0
    for first in range(0, len(x), rows := max(1, BLOCK_NUMBERS // len(to))):
        part = slice(first, first + rows)
        total += float(w[part] @ cdist(x[part], to) @ of_to)
    pairs = w.sum() * of_to.sum() - (0.0 if y is not None else float((w**2).sum()))
    return total / pairs


def total_variance(x: np.ndarray, mass: np.ndarray | None = None) -> float:
    """Sum over axes of the unbiased variance of ``x``, shape ``(n, d)``, with weights ``mass``."""
    w = np.full(len(x), 1 / len(x)) if mass is None else mass / mass.sum()
    return float(w @ ((x - w @ x) ** 2).sum(axis=1) / (1 - (w**2).sum()))


def relative_mass_error(predicted: float, observed: float) -> float:
    """|predicted - observed| / observed."""
    return abs(predicted - observed) / observed


def displacement_interpolation(x: np.ndarray, y: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Points on the straight lines of the exact plan between ``x`` and ``y``, ``share`` of the way, and their weights.

    The plan minimises the mean squared distance between equally weighted points (:cite:p:`McCann97`).
    """
    plan = ot.emd(np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), ot.dist(x, y), numItermax=EMD_ITERATIONS)
    i, j = np.nonzero(plan)
    return (1 - share) * x[i] + share * y[j], plan[i, j]
