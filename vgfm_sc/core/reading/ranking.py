"""Which genes go with a quantity, and the strongest links from gene to gene."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CONSTANT = 1e-6
"""Spread of a quantity below this share of its size is rounding: results are kept in single precision."""

SDS = 2.0
"""Standard deviations from the mean to either end of an interval that holds about 95% of normal values."""

BLOCK_NUMBERS = 2**24
"""Pairs of genes, or genes of cells, held at once."""


class Scores(NamedTuple):
    """One entry for each gene, shape ``(p,)``, and of each quantity where there are several, ``(p, k)``."""

    scores: np.ndarray
    t: np.ndarray
    pvals: np.ndarray
    pvals_adj: np.ndarray


class Interval(NamedTuple):
    """Over the models of an ensemble, one entry for each gene, each of shape ``(p,)``.

    ``stable``: whether all between ``low`` and ``high`` has one sign.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    stable: np.ndarray


class Links(NamedTuple):
    """Positions of sources and targets and their weights, the strongest first; each of shape ``(n_pairs,)``."""

    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def standardised(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Columns of ``values``, shape ``(n, k)``, with mean 0 in each group and variance 1; constant ones become 0.

    ``groups``: numbers from 0, none left out, shape ``(n,)``.
    """
    centred = values - values.mean(axis=0)
    for column in centred.T:
        column -= (np.bincount(groups, column) / np.bincount(groups))[groups]
    sd = centred.std(axis=0)
    varies = sd > CONSTANT * np.abs(values).max(axis=0)
    return np.where(varies, centred / np.where(varies, sd, 1), 0)


def correlations(cross: np.ndarray, sd: np.ndarray, n: int, n_groups: int) -> Scores:
    """Pearson's, of genes with standardised quantities over ``n`` cells, within ``n_groups`` groups of them.

    ``cross``: mean products, shape ``(p, k)``. ``sd``: of the genes within groups, shape ``(p,)``; where it is 0, so is
    the correlation.
    """
    varies, dof = sd > 0, n - n_groups - 1
    r = np.clip(np.where(varies[:, None], cross / np.where(varies, sd, 1)[:, None], 0), -1, 1)
    with np.errstate(divide="ignore"):  # a perfect correlation is infinitely sure
        t = r * np.sqrt(dof / (1 - r**2))
    return _tested(r, t, dof)


def interval(values: np.ndarray) -> Interval:
    """Mean of each gene over models, and where the value of a further model is to be expected.

    ``values``: of at least 2 models, shape ``(n_models, p)``, in a unit common to all genes. Of thousands of genes some
    have all their few values close together by chance, so the variance of each is averaged with that of all.
    """
    mean, variance = values.mean(axis=0), values.var(axis=0, ddof=1)
    reach = SDS * np.sqrt((variance + variance.mean()) / 2)
    return Interval(mean, mean - reach, mean + reach, np.abs(mean) > reach)


def mean_velocities(velocity: np.ndarray, matrix: np.ndarray | None, sd: np.ndarray) -> Scores:
    """Mean velocity of each gene over cells, in its standard deviations per unit of time.

    ``velocity``: of cells in the representation, shape ``(n, d)``. ``matrix``: loadings of the genes, shape ``(p, d)``;
    `None` where the representation is the genes.
    ``sd``: of the genes, shape ``(p,)``; a constant one (0) scores 0.
    """
    n = len(velocity)
    if matrix is None:
        mean, variance = velocity.mean(axis=0), velocity.var(axis=0, ddof=1)
    else:
        mean = matrix @ velocity.mean(axis=0)
        variance = np.einsum("pd,pd->p", matrix @ np.cov(velocity.T, ddof=1).reshape(matrix.shape[1], -1), matrix)
    varies = sd > 0
    with np.errstate(divide="ignore", invalid="ignore"):  # the same velocity in all cells is infinitely sure, unless 0
        t = np.where(varies, mean / np.sqrt(np.maximum(variance, 0) / n), 0)
    t = np.where(np.isnan(t), 0, t)
    return _tested(np.where(varies, mean / np.where(varies, sd, 1), 0), t, n - 1)


def strongest(targets: np.ndarray, sources: np.ndarray, n: int) -> Links:
    """The ``n`` entries of ``targets @ sources.T`` of largest size; both have one row of ``q`` numbers a gene."""
    p = len(sources)
    size = max(1, BLOCK_NUMBERS // p)
    place, weight = np.empty(0, dtype=np.int64), np.empty(0)
    for first in range(0, len(targets), size):
        new = (targets[first : first + size] @ sources.T).ravel()
        place, weight = np.append(place, first * p + np.arange(new.size)), np.append(weight, new)
        if weight.size > n:
            kept = np.argpartition(-np.abs(weight), n - 1)[:n]
            place, weight = place[kept], weight[kept]
    order = np.lexsort((place, -np.abs(weight)))
    return Links(place[order] % p, place[order] // p, weight[order])


def _tested(scores: np.ndarray, t: np.ndarray, dof: int) -> Scores:
    from scipy import stats  # half a second

    pvals = 2 * stats.t.sf(np.abs(t), dof)
    return Scores(scores, t, pvals, stats.false_discovery_control(pvals, axis=0))
