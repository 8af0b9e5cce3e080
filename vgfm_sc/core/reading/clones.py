"""How well plans, fates and growth agree with clones.

Scores are functions of the clones of the cells compared, numbers from 0, one array for each time point. With the clones
of each time point permuted, the same functions say what chance makes of clones as many and as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_matrix

N_BINS = 10
"""Tenths of predicted probability that calibration is judged in."""

FEWEST = 3
"""Pairs of values that are correlated: two always lie on a line."""

ROUNDING = 1e-9
"""Log ratios and probabilities that differ by less are the same."""

Scores = dict[str, np.ndarray]


def shuffled(scores: Callable[..., Scores], codes: Sequence[np.ndarray], n: int, rng: np.random.Generator) -> Scores:
    """``scores(*codes)`` with the clones of each time point permuted, ``n`` times, on a first axis."""
    found = [scores(*(rng.permutation(part) for part in codes)) for _ in range(n)]
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def followed(earlier: np.ndarray, later: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Positions of the earlier and the later cells whose clones are seen at both times, and these clones.

    ``earlier``, ``later``: the clone of each cell, -1 where it has none or cannot be compared.
    """
    both = np.intersect1d(earlier[earlier >= 0], later[later >= 0])
    return [np.flatnonzero(np.isin(codes, both)) for codes in (earlier, later)], both


class Descent:
    """How much of the mass that cells with a barcode send each other stays in the clone.

    ``plan``: between the cells compared, shape ``(n, m)``, of which zeros are not stored. ``arrived``: mass of the
    target cells from all source cells, compared or not, shape ``(m,)``.
    """

    def __init__(self, plan: csr_matrix, arrived: np.ndarray):
        entries = plan.tocoo()
        self.row, self.column, self.mass = entries.row, entries.col, entries.data.astype(float)
        self.n_empty = plan.shape[0] * plan.shape[1] - entries.nnz
        self.rank = self.n_empty + _ranks(self.mass / arrived[self.column])

    def __call__(self, source: np.ndarray, target: np.ndarray) -> Scores:
        """``share`` of the mass that stays in the clone, and ``auroc`` of pairs of one clone against all others."""
        same = source[self.row] == target[self.column]
        total = self.mass.sum()
        n_clones = max(source.max(), target.max()) + 1
        sizes = (np.bincount(part, minlength=n_clones).astype(float) for part in (source, target))
        n_pairs = float(np.dot(*sizes))
        in_empty = n_pairs - same.sum()  # pairs of one clone without mass between them, of which all tie
        ranks = self.rank[same].sum() + in_empty * (self.n_empty + 1) / 2
        return {
            "share": np.asarray(self.mass[same].sum() / total if total > 0 else np.nan),
            "auroc": np.asarray(_area(ranks, n_pairs, len(source) * float(len(target)) - n_pairs)),
        }


class Growth:
    """How well the masses that cells reach agree with how much clones grow.

    ``mass``: what one unit of each source cell's mass becomes, shape ``(n,)``. ``log_ratio``: log of the later over the
    earlier mass that stands for one cell with a barcode.
    """

    def __init__(self, mass: np.ndarray, log_ratio: float):
        self.mass, self.log_ratio = mass, log_ratio

    def __call__(self, source: np.ndarray, target: np.ndarray) -> Scores:
        """Log ratios of clone sizes, ``predicted`` and ``observed``, shape ``(n_clones,)``, and their correlations."""
        earlier, later = np.bincount(source), np.bincount(target)
        predicted = np.log(means(source, self.mass[:, None])[:, 0])
        observed = np.log(later / earlier) + self.log_ratio
        return {
            "pearson": np.asarray(pearson(predicted, observed)),
            "spearman": np.asarray(pearson(*(_ranks(np.round(x / ROUNDING)) for x in (predicted, observed)))),
            "predicted": predicted,
            "observed": observed,
        }


class Fates:
    """How well probabilities of fates agree with where the clones end.

    ``probabilities``: of the cells of each time point before the last, shape ``(n_k, q)``. ``shares``: of the clusters
    in each clone at the last time point, shape ``(n_clones, q)``. These are kept where clones are permuted.
    """

    def __init__(self, probabilities: Sequence[np.ndarray], shares: np.ndarray):
        self.probabilities, self.shares = list(probabilities), shares
        self.all = np.concatenate(self.probabilities)

    def __call__(self, *codes: np.ndarray) -> Scores:
        """Scores for each time point, then for all cells, of each cluster, shape ``(n_time_points, q)``.

        Beside them of all cells, in tenths of ``p``: ``bin_observed``, ``bin_predicted`` and ``bin_cells``, shape
        ``(N_BINS, q)``; ``bin_observed`` and ``bin_predicted`` are means, NaN where there is no cell. And of each clone
        ``clone_predicted``, shape ``(n_clones, q)``.
        """
        whole = np.concatenate(codes)
        pairs = [*zip(self.probabilities, (self.shares[part] for part in codes), strict=True)]
        pairs.append((self.all, self.shares[whole]))
        rows = [[fate_scores(p, share) for p, share in zip(ps.T, os.T, strict=True)] for ps, os in pairs]
        found = {name: np.asarray([[one[name] for one in row] for row in rows]) for name in rows[0][0]}
        bins = [calibration(p, share) for p, share in zip(self.all.T, pairs[-1][1].T, strict=True)]
        found |= {f"bin_{name}": np.stack([one[name] for one in bins], axis=1) for name in bins[0]}
        return found | {"clone_predicted": means(whole, self.all)}


def clone_shares(codes: np.ndarray, clusters: np.ndarray, n_clusters: int) -> np.ndarray:
    """Share of each cluster in each clone, shape ``(n_clones, n_clusters)``."""
    counts = np.bincount(codes * n_clusters + clusters, minlength=(codes.max() + 1) * n_clusters)
    table = counts.reshape(-1, n_clusters).astype(float)
    return table / table.sum(axis=1, keepdims=True)


def means(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means of ``values``, shape ``(n, q)``, over the cells of each clone, ``(n_clones, q)``."""
    return np.stack([np.bincount(codes, column) for column in values.T], axis=1) / np.bincount(codes)[:, None]


def fate_scores(p: np.ndarray, share: np.ndarray) -> dict[str, float]:
    """Of the probabilities of one cluster against its share in the clone of each cell, both of shape ``(n,)``."""
    found = calibration(p, share)
    cells = found["cells"]
    off = np.abs(found["predicted"] - found["observed"])[cells > 0]
    return {
        "pearson": pearson(p, share),
        "auroc": auroc(p[(share == 0) | (share == 1)], share[(share == 0) | (share == 1)] == 1),
        "predicted": float(p.mean()) if len(p) else np.nan,
        "observed": float(share.mean()) if len(p) else np.nan,
        "ece": float((cells[cells > 0] * off).sum() / len(p)) if len(p) else np.nan,
    }


def calibration(p: np.ndarray, share: np.ndarray) -> Scores:
    """Means of ``p`` and ``share`` in tenths of ``p``, and numbers of cells, each of shape ``(N_BINS,)``."""
    bins = np.minimum((N_BINS * p).astype(int), N_BINS - 1)
    cells = np.bincount(bins, minlength=N_BINS)
    with np.errstate(invalid="ignore"):
        predicted, observed = (np.bincount(bins, values, minlength=N_BINS) / cells for values in (p, share))
    return {"predicted": predicted, "observed": observed, "cells": cells}


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of two arrays of shape ``(n,)``; NaN where there are too few values or one does not vary."""
    if len(x) < FEWEST or min(np.ptp(x), np.ptp(y)) <= ROUNDING:
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def auroc(p: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive one has the higher ``p``; ties count half."""
    n = int(positive.sum())
    return _area(float(_ranks(p)[positive].sum()), n, len(p) - n) if len(p) else np.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1; equal ``values`` share the mean of theirs."""
    from scipy.stats import rankdata  # half a second

    return rankdata(values)


def _area(ranks: float, n_positive: float, n_negative: float) -> float:
    """AUROC from the sum of the ranks of the positive ones; NaN where there are none, or no others."""
    if not n_positive or not n_negative:
        return np.nan
    return (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
