"""What differs between two runs of the same cells, in each replicate, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

LEVEL = 0.95
"""Of intervals."""


class Run(NamedTuple):
    """Cells followed through ``n_times`` times.

    ``mass``: shape ``(n_times, n)``. ``ends``: positions at the last time along the axes trained on, in units of the
    representation, ``(n, n_axes)``. ``shares``: of the clusters there, ``(n, n_clusters)``. ``outside``: whether a cell
    there is where no cells were observed, ``(n,)``.
    """

    mass: np.ndarray
    ends: np.ndarray
    shares: np.ndarray
    outside: np.ndarray


class Effects(NamedTuple):
    """Unchanged and changed, one row for each replicate.

    ``shares``: of each cluster, shape ``(r, 2, n_clusters)``. ``mass``: mean mass of a cell, ``(r, 2, n_times)``.
    ``energy``: energy distance of the ends, shape ``(r,)``. ``outside``: share of the changed cells that end outside,
    ``(r,)``.
    """

    shares: np.ndarray
    mass: np.ndarray
    energy: np.ndarray
    outside: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """Log ratios of shares and of final mass, and energy, shape ``(r, n_clusters + 2)``."""
        fates = np.diff(np.log(self.shares), axis=1)[:, 0]
        return np.column_stack([fates, np.log(self.mass[:, 1, -1] / self.mass[:, 0, -1]), self.energy])

    @property
    def levels(self) -> np.ndarray:
        """Means over replicates of what `values` compares, unchanged and changed, shape ``(2, n_clusters + 2)``."""
        energy = [0.0, self.energy.mean()]
        return np.column_stack([self.shares.mean(axis=0), self.mass[:, :, -1].mean(axis=0), energy])


class Tested(NamedTuple):
    """Of ``q`` effects, each of shape ``(q,)``."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    t: np.ndarray
    pvals: np.ndarray


def effects(before: Run, after: Run, counts: np.ndarray, directions: np.ndarray) -> Effects:
    """What two runs of the same cells are in each replicate; energy without what lies along directions."""
    n, runs = counts.sum(axis=1, keepdims=True), (before, after)
    ends = [run.ends - (run.ends @ directions.T) @ directions for run in runs]
    energy = [
        paired_energy(*(end[drawn] for end in ends), *(row[drawn] * run.mass[-1][drawn] for run in runs))
        for row in counts
        for drawn in (row > 0,)
    ]
    return Effects(
        np.stack([share_of(run, counts) for run in runs], axis=1),
        np.stack([counts @ run.mass.T / n for run in runs], axis=1),
        np.array(energy),
        (counts @ after.outside) / n[:, 0],
    )


def share_of(run: Run, counts: np.ndarray) -> np.ndarray:
    """Of each cluster at the end of each replicate, by mass, shape ``(r, n_clusters)``.

    Half a cell of mean mass is added to each, so that a cluster that none reaches has a log ratio.
    """
    weight, half = counts * run.mass[-1], 0.5 / counts.sum(axis=1, keepdims=True)
    reached = (weight @ run.shares) / weight.sum(axis=1, keepdims=True)
    return (reached + half) / (1 + half * run.shares.shape[1])


def paired_energy(x: np.ndarray, y: np.ndarray, w: np.ndarray, v: np.ndarray) -> float:
    """Energy distance of cells ``x``, shape ``(n, d)``, from the same cells at ``y``, with weights ``w`` and ``v``.

    Only pairs of two different cells count: without a change it is exactly 0. NaN for a single cell.
    """

    def mean(a: np.ndarray, b: np.ndarray, of_a: np.ndarray, of_b: np.ndarray) -> float:
        distance = cdist(a, b)
        np.fill_diagonal(distance, 0)
        pairs = of_a.sum() * of_b.sum() - float(of_a @ of_b)
        return float(of_a @ distance @ of_b) / pairs if len(a) > 1 else float("nan")

    return 2 * mean(x, y, w, v) - mean(x, x, w, w) - mean(y, y, v, v)


def tested(values: np.ndarray, share: float, freedom: float | None = None) -> Tested:
    """Mean, 95% interval and two-sided t test of ``values``, one row a replicate, shape ``(r, q)``.

    ``share``: variance of a replicate that another sample of all cells would have, as a part of that of a replicate.
    The variance of the mean is that and what the number of replicates leaves open. ``freedom``: degrees of freedom of
    the variance, where they are not ``r - 1``. One replicate has no variance: all but the mean is NaN.
    """
    from scipy import stats  # half a second

    r, mean = len(values), values.mean(axis=0)
    if r < 2:
        unknown = np.full(mean.shape, np.nan)
        return Tested(mean, unknown, unknown, unknown, unknown)
    freedom, sd = r - 1 if freedom is None else freedom, values.std(axis=0, ddof=1)
    error = sd * np.sqrt(share + 1 / r)
    with np.errstate(divide="ignore", invalid="ignore"):  # the same in all replicates is infinitely sure, unless 0
        t = np.where((mean == 0) & (error == 0), 0, mean / error)
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    return Tested(mean, mean - reach, mean + reach, t, 2 * stats.t.sf(np.abs(t), freedom))
