"""How far simulated cells are from observed ones."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import cdist

EMD_ITERATIONS = 10_000_000
"""The network simplex needs more pivots than POT's default for some thousand cells."""

BLOCK_NUMBERS = 2**22
"""Distances held at once."""

FEW_DIMS = 5
"""Up to so many dimensions sums of squares are as fast as products."""

FEW_PAIRS = 2**20
"""Up to so many pairs sums of squares take no time to speak of in any dimension, and are exact."""

ENERGY_SPLITS = 400
"""The quantile of as many draws is that of 95% give or take 1."""

FLOOR_QUANTILE = 0.95
"""The usual level of a test: one comparison in twenty of samples of one population is above."""

FLOOR_POINTS = 5000
"""In two dimensions W1 between the halves of one split varies by a tenth; of larger samples one split takes seconds."""


def wasserstein1(x: np.ndarray, y: np.ndarray, mass: np.ndarray | None = None) -> float:
    """Exact W1 (Euclidean cost) between ``x`` with weights ``mass`` and ``y`` with equal weights, totals normalised."""
    import ot  # with networkx and more, a quarter of a second

    p = np.full(len(x), 1 / len(x)) if mass is None else mass / mass.sum()
    return float(ot.emd2(p, np.full(len(y), 1 / len(y)), _distances(x, y), numItermax=EMD_ITERATIONS))


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Between all of ``x``, shape ``(n, d)``, and of ``y``, ``(m, d)``; by products where these are faster.

    With products, rounding leaves points at one place 1e-8 of the data's range apart; other distances hardly change.
    """
    if x.shape[1] <= FEW_DIMS or len(x) * len(y) <= FEW_PAIRS:
        return cdist(x, y)
    middle = y.mean(axis=0)
    a, b = (torch.from_numpy(np.asarray(part - middle, dtype=float)) for part in (x, y))
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist").numpy()


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


def energy_floor(y: np.ndarray, mass: np.ndarray, rng: np.random.Generator) -> float:
    """What chance makes of the energy distance between ``y``, shape ``(m, d)``, and a sample with weights ``mass``.

    The 95% quantile over random halves of ``y``. Between samples of one population the energy distance varies in
    proportion to the sum of the inverse sizes, by which that of halves is brought to the sizes compared; the size of a
    weighted sample is its effective number. NaN for fewer than 4 points, of which the halves have no pairs.
    """
    m, half = len(y), len(y) // 2
    if half < 2:
        return float("nan")
    rest, first = m - half, np.zeros((m, ENERGY_SPLITS))
    for k in range(ENERGY_SPLITS):
        first[rng.permutation(m)[:half], k] = 1
    within, of_first, total = np.zeros(ENERGY_SPLITS), np.zeros(ENERGY_SPLITS), 0.0
    for start in range(0, m, rows := max(1, BLOCK_NUMBERS // m)):
        part = slice(start, start + rows)
        distance = _distances(y[part], y)
        within += (first[part] * (distance @ first)).sum(axis=0)
        of_first += distance.sum(axis=1) @ first[part]
        total += float(distance.sum())
    across = of_first - within
    among = within / (half * (half - 1)) + (total - of_first - across) / (rest * (rest - 1))
    energies = 2 * across / (half * rest) - among
    return float(np.quantile(energies, FLOOR_QUANTILE) * (1 / effective_number(mass) + 1 / m) / (1 / half + 1 / rest))


def effective_number(mass: np.ndarray) -> float:
    """How many points of equal weight vary as much as those with weights ``mass``."""
    return float(mass.sum() ** 2 / (mass**2).sum())


def _mean_distance(x: np.ndarray, w: np.ndarray, y: np.ndarray | None = None, v: np.ndarray | None = None) -> float:
    """Mean of |x - y| over pairs by their weights; without ``y`` over pairs of two different points of ``x``."""
    to, of_to = (x, w) if y is None or v is None else (y, v)
    total = 0.0
    for first in range(0, len(x), rows := max(1, BLOCK_NUMBERS // len(to))):
        part = slice(first, first + rows)
        total += float(w[part] @ _distances(x[part], to) @ of_to)
    pairs = w.sum() * of_to.sum() - (0.0 if y is not None else float((w**2).sum()))
    return total / pairs


def total_variance(x: np.ndarray, mass: np.ndarray | None = None) -> float:
    """Sum over axes of the unbiased variance of ``x``, shape ``(n, d)``, with weights ``mass``."""
    w = np.full(len(x), 1 / len(x)) if mass is None else mass / mass.sum()
    return float(w @ ((x - w @ x) ** 2).sum(axis=1) / (1 - (w**2).sum()))


def spread(x: np.ndarray, y: np.ndarray, mass: np.ndarray | None = None) -> float:
    """Total variance of ``x`` with weights ``mass`` over that of ``y``; NaN where all of ``y`` are at one place."""
    observed = total_variance(y)
    return total_variance(x, mass) / observed if observed > 0 else float("nan")


def relative_mass_error(predicted: float, observed: float) -> float:
    """|predicted - observed| / observed."""
    return abs(predicted - observed) / observed


def displacement_interpolation(x: np.ndarray, y: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Points on the straight lines of the exact plan between ``x`` and ``y``, ``share`` of the way, and their weights.

    The plan minimises the mean squared distance between equally weighted points (:cite:p:`McCann97`).
    """
    import ot  # as above

    plan = ot.emd(np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), ot.dist(x, y), numItermax=EMD_ITERATIONS)
    i, j = np.nonzero(plan)
    return (1 - share) * x[i] + share * y[j], plan[i, j]
