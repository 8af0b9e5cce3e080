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
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array
from scipy.special import xlogy

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


def learnt(course: Course, seed: int, couple: Callable[[Course, int], Sequence[Coupling]]) -> Course:
    """``course`` that expects of its cells the growth that cells of their state show in `ROUNDS` of couplings.

    ``couple`` makes the couplings of a course in a round. It gets samples of ``course`` that expect what the rounds
    before have found.
    """
    sample = expecting = sampled(course, seed)
    found, factors = np.zeros(0), [1.0]
    for k in range(ROUNDS):
        if k:
            expecting = told(sample, sample, found, factors)
        rate, factors = beyond(expecting, couple(expecting, k))
        found = found + rate if k else rate
    return told(course, sample, found, factors)


def beyond(course: Course, couplings: Sequence[Coupling]) -> tuple[np.ndarray, list[float]]:
    """Growth that ``couplings`` show beyond what ``course`` expects: rates of all source cells, ``(n,)``.

    What the cells of an interval have in common is left out. Also how many times as much growth other than expected is
    to cost in each interval, once this is expected.
    """
    rates, factors = [], []
    for k, coupling in enumerate(couplings):
        foreseen = 0 if course.prior is None else course.prior[k] / 2
        rates.append(coupling.early_growth / course.durations[k] - foreseen)
        factors.append(rho_factor(rates[-1] * course.durations[k]))
    return _of_state(course, np.concatenate(rates)), factors


def told(course: Course, sample: Course, rate: np.ndarray, factors: Sequence[float]) -> Course:
    """``course`` that expects of its cells the mean ``rate`` of the source cells of ``sample`` around them.

    It is added to a prior that ``course`` has, and so has its ``sample``.
    """
    sources, weight = np.concatenate(sample.positions[:-1]), _weights(sample)
    rates = [rate]
    if sample.prior is not None:
        rates.append(_of_state(sample, rate + np.concatenate(sample.prior[:-1])))
    means = []
    for x in course.positions:
        blocks = np.array_split(x, math.ceil(len(x) / BLOCK_CELLS))
        means.append(np.concatenate([around(block, sources, weight) @ np.column_stack(rates) for block in blocks]))
    prior, states = ([of_cells[:, column] for of_cells in means] for column in (0, -1))
    if course.prior is not None:
        prior = [one + other for one, other in zip(prior, course.prior, strict=True)]
    return replace(course, prior=prior, rho_factors=factors, state_growth=states)


def _weights(course: Course) -> np.ndarray:
    """Of the source cells: a log growth is as sure over a short interval as over a long one, its rate is not."""
    return np.repeat(np.square(course.durations), [len(x) for x in course.positions[:-1]])


def _of_state(course: Course, rate: np.ndarray) -> np.ndarray:
    """``rate`` of the source cells without what those of an interval have in common."""
    sources, weight = np.concatenate(course.positions[:-1]), _weights(course)
    interval = np.repeat(np.arange(len(course.durations)), [len(x) for x in course.positions[:-1]])
    return rate - offsets(rate, weight, interval, around(sources, sources, weight))[interval]


def rho_factor(log_growth: np.ndarray) -> float:
    """How many times as much growth other than expected is to cost, if it was ``log_growth``, shape ``(n,)``.

    Inverse to its Kullback-Leibler divergence, so that it costs much the same in every interval: what is left of growth
    once it is expected is mostly chance, and an interval that needs much more keeps the penalty as it is.
    """
    share = np.exp(log_growth - log_growth.max())
    share /= share.mean()
    divergence = np.mean(xlogy(share, share))  # half of the variance, where that is small
    return float(np.clip(LEFT**2 / 2 / max(divergence, np.finfo(float).tiny), 1.0, MOST_RHO))


def at_ends(course: Course, couplings: Sequence[Coupling]) -> tuple[np.ndarray, np.ndarray]:
    """Log growth of the cells at the ends of ``course`` over the first and over the last interval, by their state.

    What cells of the interval have in common is that of its coupling: their total is observed.
    """
    assert course.state_growth is not None
    ends = []
    for k, cells in ((0, 0), (len(couplings) - 1, len(couplings))):
        plan, of_state = couplings[k].plan, [course.state_growth[at] * course.durations[k] for at in (k, k + 1)]
        grown = couplings[k].early_growth, couplings[k].late_growth
        common = sum(
            np.average(found - whole / 2, weights=plan.sum(axis=axis))
            for found, whole, axis in zip(grown, of_state, (1, 0), strict=True)
        )
        ends.append(course.state_growth[cells] * course.durations[k] + common)
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
