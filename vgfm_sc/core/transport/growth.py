"""How cells of a state multiply, before asking where they went.

Where a fork lies between two snapshots, growth and motion look alike: a branch may have more cells because more cells
went there, or because those that did multiplied. Later snapshots tell the two apart, because their cells are on one
branch or the other already. So all intervals are coupled first, and the growth of cells is averaged over those around
them at any time. The next coupling expects this growth, half of it at the source cell and half at the target cell:
cells that were born on the way were not there to be sent. What it shows beyond is averaged in the same way, and added
for the coupling after that. Where little is left that was not expected, it is mostly chance, and made more expensive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.course import Course
from vgfm_sc.core.neighbours import kernel

ROUNDS = 2
"""Couplings that growth is learnt from, before those that are used."""

MOST_CELLS = 1000
"""Of each snapshot that the first couplings use: a mean over neighbourhoods needs no more."""

NEIGHBOURS = 100
"""Cells whose growth is averaged: that of a single cell is mostly noise."""

BLOCK_CELLS = 10_000
"""Cells whose neighbours are held at once: 30 MB."""

LEFT = 0.6
"""Standard deviation of log growth other than expected at which it costs as much as any growth does at first."""

MOST_RHO = 4.0
"""Times as much as at first that growth other than expected can cost."""

RIDGE = 0.01
"""Weight of an interval's own mean against its overlap with others, in saying how much its total is off."""


def sampled(course: Course, seed: int) -> Course:
    """``course`` with at most `MOST_CELLS` of each snapshot, drawn at random; totals stay."""
    positions, masses = list(course.positions), list(course.masses)
    prior, clones = list(course.prior or []), list(course.clones or [])
    for k, own in enumerate(np.random.SeedSequence(seed).spawn(len(positions))):
        n = len(positions[k])
        if n <= MOST_CELLS:
            continue
        rows = np.sort(np.random.default_rng(own).choice(n, MOST_CELLS, replace=False))
        positions[k], masses[k] = positions[k][rows], masses[k] * n / MOST_CELLS
        for known in (prior, clones):
            if known:
                known[k] = known[k][rows]
    return replace(course, positions=positions, masses=masses, prior=prior or None, clones=clones or None)


def told(course: Course, sample: Course, couplings: Sequence[Coupling]) -> Course:
    """``course`` that expects of its cells the growth found by ``couplings`` of its ``sample``.

    That growth is added to what was expected before, and says how much other growth costs next. A log growth is as sure
    over a short interval as over a long one, so a rate weighs as the square of its interval.
    """
    rates, sizes, factors = [], [len(x) for x in sample.positions[:-1]], []
    for k, coupling in enumerate(couplings):
        foreseen = 0 if sample.prior is None else sample.prior[k] / 2
        rates.append(coupling.early_growth / sample.durations[k] - foreseen)
        factors.append(rho_factor(rates[-1] * sample.durations[k]))
    interval, sources = np.repeat(np.arange(len(sizes)), sizes), np.concatenate(sample.positions[:-1])
    weight = np.square(sample.durations)[interval]
    rate = np.concatenate(rates)
    rate -= offsets(rate, weight, interval, around(sources, sources, weight))[interval]
    prior = []
    for x in course.positions:
        blocks = np.array_split(x, math.ceil(len(x) / BLOCK_CELLS))
        prior.append(np.concatenate([around(block, sources, weight) @ rate for block in blocks]))
    if course.prior is not None:
        prior = [one + other for one, other in zip(prior, course.prior, strict=True)]
    return replace(course, prior=prior, rho_factors=factors)


def rho_factor(log_growth: np.ndarray) -> float:
    """How many times as much growth other than expected is to cost, if it was ``log_growth``, shape ``(n,)``.

    Inverse to its Kullback-Leibler divergence, so that it costs much the same in every interval: what is left of growth
    once it is expected is mostly chance, and an interval that needs much more keeps the penalty as it is.
    """
    share = np.exp(log_growth - log_growth.max())
    share /= share.mean()
    divergence = np.mean(share * np.log(share))  # half of the variance, where that is small
    return float(np.clip(LEFT**2 / 2 / max(divergence, np.finfo(float).tiny), 1.0, MOST_RHO))


def at_ends(course: Course, couplings: Sequence[Coupling]) -> tuple[np.ndarray, np.ndarray]:
    """Log growth over the first and over the last interval that ``course`` expects of the cells at its ends.

    What cells of the interval have in common beyond what was expected is part of it: their total is observed.
    """
    assert course.prior is not None
    ends = []
    for k, cells in ((0, 0), (len(couplings) - 1, len(couplings))):
        plan, foreseen = couplings[k].plan, [course.prior[at] * course.durations[k] for at in (k, k + 1)]
        grown = couplings[k].early_growth, couplings[k].late_growth
        common = sum(
            np.average(found - half / 2, weights=plan.sum(axis=axis))
            for found, half, axis in zip(grown, foreseen, (1, 0), strict=True)
        )
        ends.append(course.prior[cells] * course.durations[k] + common)
    return ends[0], ends[1]


def around(points: np.ndarray, x: np.ndarray, weight: np.ndarray) -> csr_array:
    """What makes means over the cells of ``x`` around each of ``points``, shape ``(m, n)``; rows add up to 1.

    ``weight``, shape ``(n,)``: of each cell, beside its nearness.
    """
    means = kernel(points, x, NEIGHBOURS)
    means.data *= weight[means.indices]
    means.data /= np.repeat(means.sum(axis=1), np.diff(means.indptr))
    return means


def offsets(rate: np.ndarray, weight: np.ndarray, interval: np.ndarray, means: csr_array) -> np.ndarray:
    """Growth rate that all cells of an interval have in common, shape ``(k,)``: a total that is off, or time itself.

    Once it is subtracted, ``rate`` is as near as can be to its ``means`` over neighbours of all intervals. Where
    intervals share no states it is their mean.
    """
    of_interval = np.eye(interval.max() + 1)[interval]
    mean = (weight * rate) @ of_interval / (weight @ of_interval)
    rest = rate - mean[interval]
    root = np.sqrt(weight / weight.sum())
    unlike, left = root[:, None] * (of_interval - means @ of_interval), root * (rest - means @ rest)
    own = RIDGE * np.diag(np.square(root) @ of_interval)
    return mean + np.linalg.solve(unlike.T @ unlike + own, unlike.T @ left)
