"""How cells of a state multiply, before asking where they went.

Where a fork lies between two snapshots, growth and motion look alike: a branch may have more cells because more cells
went there, or because those that did multiplied. Later snapshots tell the two apart, because their cells are on one
branch or the other already. So all intervals are coupled first, and the growth of cells is averaged over those around
them at any time. The next coupling expects this growth, half of it at the source cell and half at the target cell:
cells that were born on the way were not there to be sent. The growth that it shows beyond the expected one is averaged
in the same way and added before the last coupling. If little of it is left, that is mostly chance, and its penalty
rises.
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
"""How often all intervals are coupled to learn growth, before they are coupled for use."""

MOST_CELLS = 500
"""Of each snapshot that the first couplings use: a mean over neighbourhoods needs no more."""

SHARED_BY = 30
"""Nearest cells of the sample that stand for a cell which is not in it."""

NEIGHBOURS = 100
"""Cells whose growth is averaged: that of a single cell is mostly noise."""

BLOCK_CELLS = 10_000
"""Cells whose neighbours are held at once: 30 MB."""

LEFT = 0.6
"""Standard deviation of log growth beyond the expected one from which on the penalty stays as it is."""

MOST_RHO = 4.0
"""Highest factor on the penalty."""

RIDGE = 0.01
"""Weight of an interval's own mean against its overlap with others, in saying how much its total is off."""


def sampled(course: Course, seed: int) -> Course:
    """``course`` with at most `MOST_CELLS` of each snapshot, drawn at random, that stand for the cells around them."""
    positions, masses = list(course.positions), list(course.masses)
    prior, clones = list(course.prior or []), list(course.clones or [])
    for k, own in enumerate(np.random.SeedSequence(seed).spawn(len(positions))):
        x = positions[k]
        if len(x) <= MOST_CELLS:
            continue
        rows = np.sort(np.random.default_rng(own).choice(len(x), MOST_CELLS, replace=False))
        positions[k], masses[k] = x[rows], masses[k] * stands_for(x, rows)
        for known in (prior, clones):
            if known:
                known[k] = known[k][rows]
    return replace(course, positions=positions, masses=masses, prior=prior or None, clones=clones or None)


def stands_for(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How many cells of ``x`` each of ``rows`` stands for, itself and a share of the others near it.

    A random sample has more cells of one state and fewer of another by chance, which would look like growth.
    """
    count, others = np.ones(len(rows)), np.delete(x, rows, axis=0)
    for block in np.array_split(others, math.ceil(len(others) / BLOCK_CELLS)):
        count += around(block, x[rows], np.ones(len(rows)), SHARED_BY).sum(axis=0)
    return count


def learnt(course: Course, seed: int, couple: Callable[[Course, int], Sequence[Coupling]]) -> Course:
    """``course`` with the growth expected that cells in the same state show in `ROUNDS` of couplings.

    ``couple`` takes a course and the number of the round, and returns the couplings. The course is a sample that
    expects the growth found in earlier rounds.
    """
    sample = expecting = sampled(course, seed)
    found: float | np.ndarray = 0.0
    for k in range(ROUNDS):
        rate, factors = beyond(expecting, couple(expecting, k))
        found = rate + found
        expecting = told(course if k == ROUNDS - 1 else sample, sample, found, factors)
    return expecting


def beyond(course: Course, couplings: Sequence[Coupling]) -> tuple[np.ndarray, list[float]]:
    """Growth that ``couplings`` show beyond what ``course`` expects.

    Returns
    -------
    Rates of all source cells, shape ``(n,)``, without what the cells of an interval have in common, and the factor on
    the penalty of each interval, see `rho_factor`.
    """
    rates, factors = [], []
    for k, coupling in enumerate(couplings):
        foreseen = 0 if course.prior is None else course.prior[k] / 2
        rates.append(coupling.early_growth / course.durations[k] - foreseen)
        factors.append(rho_factor(rates[-1] * course.durations[k]))
    return _of_state(course, np.concatenate(rates)), factors


def told(course: Course, sample: Course, rate: np.ndarray, factors: Sequence[float]) -> Course:
    """``course`` in which each cell is expected to grow by the mean ``rate`` of source cells of ``sample`` around it.

    ``rate`` is what was found beyond the prior of ``sample``, so that of ``course`` is added.
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
    """Weights of the source cells: log growth is as certain over a short interval as over a long one, a rate is not."""
    return np.repeat(np.square(course.durations), [len(x) for x in course.positions[:-1]])


def _of_state(course: Course, rate: np.ndarray) -> np.ndarray:
    """``rate`` of the source cells without what those of an interval have in common."""
    sources, weight = np.concatenate(course.positions[:-1]), _weights(course)
    interval = np.repeat(np.arange(len(course.durations)), [len(x) for x in course.positions[:-1]])
    return rate - offsets(rate, weight, interval, around(sources, sources, weight))[interval]


def rho_factor(log_growth: np.ndarray) -> float:
    """Factor on the penalty of an interval with ``log_growth``, shape ``(n,)``, beyond the expected growth.

    It is inverse to the Kullback-Leibler divergence of that growth. Little growth beyond the expected one is mostly
    chance, and a high penalty removes it. If there is much, growth is not known yet, and the penalty stays as it is.
    """
    share = np.exp(log_growth - log_growth.max())
    share /= share.mean()
    divergence = np.mean(xlogy(share, share))  # half of the variance, where that is small
    return float(np.clip(LEFT**2 / 2 / max(divergence, np.finfo(float).tiny), 1.0, MOST_RHO))


def at_ends(course: Course, couplings: Sequence[Coupling]) -> tuple[np.ndarray, np.ndarray]:
    """Log growth by state of the first cells over the first interval, and of the last cells over the last interval.

    Its level is that of the coupling, because totals are observed.
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


def around(points: np.ndarray, x: np.ndarray, weight: np.ndarray, k: int = NEIGHBOURS) -> csr_array:
    """What makes means over the ``k`` cells of ``x`` around each of ``points``, shape ``(m, n)``; rows add up to 1.

    ``weight``, shape ``(n,)``: of each cell, beside its nearness.
    """
    means = kernel(points, x, k)
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
