"""What a change of genes does to a population: the same cells followed with it and without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist

from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.neighbours import nearest
from vgfm_sc.core.reading.projection import NEIGHBOURS, carry, searched

LEVEL = 0.95
"""Of intervals."""


class Change(NamedTuple):
    """Genes, and what is made of them: a gene at value y goes to ``scale * y + shift``.

    A position ``x`` has the values ``level + y @ weights.T``, where ``y`` is the position from the centre along the
    axes trained on, in units of the representation. ``weights``: shape ``(q, n_axes)``; the others: shape ``(q,)``.
    """

    weights: np.ndarray
    level: np.ndarray
    scale: np.ndarray
    shift: np.ndarray

    def values(self, x: np.ndarray, scaling: Scaling) -> np.ndarray:
        """Of the genes at positions ``x``, shape ``(n, d)``: shape ``(n, q)``."""
        return self.level + along(x, scaling) @ self.weights.T

    def wanted(self, values: np.ndarray) -> np.ndarray:
        """What becomes of ``values``, shape ``(n, q)``."""
        return self.scale * values + self.shift

    def made(self, x: np.ndarray, scaling: Scaling) -> np.ndarray:
        """The nearest positions to ``x`` at which the genes have the values wanted, shape ``(n, d)``."""
        now = self.values(x, scaling)
        y = (self.wanted(now) - now) @ np.linalg.pinv(self.weights).T
        return x + scaling.displacement(y / scaling.length)

    @property
    def directions(self) -> np.ndarray:
        """Orthonormal ones that span those of the genes, shape ``(q, n_axes)``."""
        return np.linalg.qr(self.weights.T)[0].T


class Group(NamedTuple):
    """Cells ``x``, shape ``(n, d)``, followed by one ``model``, and how often each replicate drew each: ``(r, n)``."""

    model: Model
    x: np.ndarray
    counts: np.ndarray


class Ends(NamedTuple):
    """Observed cells of the last time, shape ``(m, d)``, and their clusters as shares of 1, ``(m, n_clusters)``."""

    x: np.ndarray
    shares: np.ndarray


class Run(NamedTuple):
    """A group followed through ``n_times`` times.

    ``mass``: shape ``(n_times, n)``. ``ends``: positions at the last time as `along` has them, ``(n, n_axes)``.
    ``shares``: of the clusters there, ``(n, n_clusters)``. ``outside``: whether a cell there is `outside`, ``(n,)``.
    """

    mass: np.ndarray
    ends: np.ndarray
    shares: np.ndarray
    outside: np.ndarray


class Effects(NamedTuple):
    """Changed less unchanged, one row for each replicate.

    ``fates``: log ratio of the share of each cluster, ``(r, n_clusters)``. ``mass``: of log total mass at each time,
    ``(r, n_times)``. ``energy``: energy distance of the ends, shape ``(r,)``. ``shares``: of the changed,
    ``(r, n_clusters)``. ``outside``: share of the changed cells that end outside, ``(r,)``.
    """

    fates: np.ndarray
    mass: np.ndarray
    energy: np.ndarray
    shares: np.ndarray
    outside: np.ndarray


class Tested(NamedTuple):
    """Of ``q`` effects, each of shape ``(q,)``."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    t: np.ndarray
    pvals: np.ndarray


def along(x: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Positions from the centre along the axes trained on, in units of the representation, shape ``(n, n_axes)``."""
    return scaling.to_unitless(x) * scaling.length


def follow(
    group: Group, times: Sequence[float] | np.ndarray, ends: Ends, *, held: np.ndarray | None, tol: float, seed: int
) -> Run:
    """Follow the cells of a group, not ``held`` or held to where they stand along these directions."""
    mass, last = np.empty((len(times), len(group.x))), np.empty_like(group.x)
    for block, at, weight in group.model.followed(group.x, times, tol=tol, held=held):
        mass[:, block], last[block] = weight, at[-1]
    scaling = group.model.scaling
    shares = carry(ends.x, ends.shares, last, scaling, seed)
    return Run(mass, along(last, scaling), shares, outside(last, ends.x, scaling, seed))


def perturbed(
    groups: Sequence[Group],
    before: Sequence[Run],
    change: Change,
    times: Sequence[float] | np.ndarray,
    ends: Ends,
    *,
    held: bool,
    tol: float,
    seed: int,
) -> Effects:
    """Effects of a change on groups whose runs without it are ``before``."""
    found = []
    for group, run in zip(groups, before, strict=True):
        moved = group._replace(x=change.made(group.x, group.model.scaling))
        again = follow(moved, times, ends, held=change.directions if held else None, tol=tol, seed=seed)
        found.append(effects(run, again, group.counts, change.directions))
    return Effects(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def effects(before: Run, after: Run, counts: np.ndarray, directions: np.ndarray) -> Effects:
    """What differs between two runs of the same cells, in each replicate; energy without what lies along directions."""
    totals = [counts @ run.mass.T for run in (before, after)]
    shares = [share_of(run, counts) for run in (before, after)]
    ends = [run.ends - (run.ends @ directions.T) @ directions for run in (before, after)]
    energy = [
        paired_energy(*(end[drawn] for end in ends), *(row[drawn] * run.mass[-1][drawn] for run in (before, after)))
        for row in counts
        for drawn in (row > 0,)
    ]
    return Effects(
        np.log(shares[1]) - np.log(shares[0]),
        np.log(totals[1]) - np.log(totals[0]),
        np.array(energy),
        shares[1],
        (counts @ after.outside) / counts.sum(axis=1),
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


def outside(points: np.ndarray, x: np.ndarray, scaling: Scaling, seed: int) -> np.ndarray:
    """Whether ``points``, shape ``(n, d)``, lie where there are no cells ``x``, shape ``(m, d)``; shape ``(n,)``.

    There the nearest cell is farther away than that cell's own neighbours reach. Of many cells a sample is searched.
    """
    cells = scaling.to_unitless(x[searched(len(x), seed)]).astype(np.float32)
    distance, index = nearest(scaling.to_unitless(points).astype(np.float32), cells, 1)
    met, which = np.unique(index[:, 0], return_inverse=True)
    reach = nearest(cells[met], cells, min(NEIGHBOURS + 1, len(cells)))[0][:, -1]
    return distance[:, 0] > reach[which]


def tested(values: np.ndarray, share: float) -> Tested:
    """Mean, 95% interval and two-sided t test of ``values``, one row a replicate, shape ``(r, q)``.

    ``share``: variance of a replicate that another sample of all cells would have, as a part of that of a replicate.
    The variance of the mean is that and what the number of replicates leaves open.
    """
    r = len(values)
    mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
    error = sd * np.sqrt(share + 1 / r)
    with np.errstate(divide="ignore", invalid="ignore"):  # the same in all replicates is infinitely sure, unless 0
        t = np.where((mean == 0) & (error == 0), 0, mean / error)
    reach = stats.t.ppf((1 + LEVEL) / 2, r - 1) * error
    return Tested(mean, mean - reach, mean + reach, t, 2 * stats.t.sf(np.abs(t), r - 1))
