"""Paths that keep to the data: shortest ways between cells, where ways through empty space are longer.

A straight line between two cells may lead through places where there are no cells. Cells of other times, and those that
are ahead or behind, show the way around. Some cells, taken so that they cover the data, are landmarks, and any two of
them are joined by an edge. An edge along which there are cells costs its length; where there are none, it costs up to a
few times as much. So the shortest way is straight wherever cells lie along the line, and goes around a gap unless that
is much longer. Noise moves each cell off the way, and farther in more dimensions, so ways lead from one mean of
neighbouring cells to the next. What sets such a way apart from the straight line between its ends, at even speed, is
written as three sine waves, which vanish at both ends. The path of a pair of cells is the straight line between them
and the waves of the landmarks nearest to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist
from torch import Generator, Tensor

from vgfm_sc.core.neighbours import nearest
from vgfm_sc.core.path import PathPoint

LANDMARKS = 300
"""At most: ways between all of them take a second."""

MOST_NUMBERS = 2**26
"""Of all waves: 270 MB. In more than 248 dimensions there are fewer landmarks."""

MOST_CELLS = 20_000
"""Cells that landmarks are chosen from: more do not cover the data better."""

MOST_AROUND, NEAR, REACH = 30, 5, 1.5
"""A landmark is placed at the mean of at most so many cells around it: those at most `REACH` times as far as its
neighbour of rank `NEAR`. Along a thin line these are few. With noise in many dimensions all cells are about equally
far."""

SHARE_AROUND = 10
"""At most one of so many cells is among those around a landmark: means over most of the cells are all alike."""

SPARSE = 0.75
"""Quantile over landmarks of the distance to a near one that is taken as the width: above the median, because sparse
stretches count as data too."""

ALONG = 3
"""Places at which it is asked whether there are cells along an edge, evenly spaced."""

SHARPNESS = 4
"""Power of the distance to the nearest cell in how empty a place is: among cells it hardly counts how far they are."""

LEAST_AVOIDED, ENOUGH_AVOIDED = 1 / 3, 1 / 2
"""Share of the empty space on the straight line that a way avoids: up to the first it is not taken, from the second on
it is taken as it is. A gap that must be crossed anyway is crossed straight, and not where it is narrowest."""

WAYPOINTS = 16
"""Places at which a way is compared with the straight line, evenly spaced."""

WAVES = 3
"""Sine waves that a way is written in: enough for a half circle, and too few to follow single landmarks."""

SHORTEST = 1e-9
"""Least length of an edge, so that none is taken for missing."""


class Geodesics(NamedTuple):
    """A path function that follows the data.

    ``landmarks``: cells, shape ``(l, d)``. ``waves``: how far the way between the means around two landmarks is off
    the straight line between these, shape ``(l, l, WAVES, d)``.
    """

    landmarks: Tensor
    waves: Tensor

    def __call__(self, x0: Tensor, x1: Tensor, log_growth: Tensor, s: Tensor) -> PathPoint:
        """Pairs at ``s``, growing at constant rate; shapes as in `vgfm_sc.core.path.straight`."""
        start, stop = (torch.cdist(x, self.landmarks.to(x)).argmin(dim=1) for x in (x0, x1))
        size, u = self.waves[start, stop].to(x0), x1 - x0
        pace = torch.pi * torch.arange(1, WAVES + 1, device=x0.device).to(x0)
        phase = s[:, None] * pace
        off = (phase.sin()[..., None] * size).sum(dim=1)
        slope = ((pace * phase.cos())[..., None] * size).sum(dim=1)
        return PathPoint(x0 + s[:, None] * u + off, u + slope, log_growth, (s * log_growth).exp())


def geodesics(cells: Sequence[Tensor], generator: Generator, *, n_neighbors: int, detour: float) -> Geodesics:
    """The path function that follows ``cells``, the unitless positions of all snapshots, shapes ``(n_k, d)``.

    ``n_neighbors``: how near a cell must be to a place among cells, as a rank: about as near as the landmark of this
    rank is to a landmark where cells are sparse.
    ``detour``: cost of a length far from all cells, over that among cells.

    Raises
    ------
    ValueError
        There are no more landmarks than ``n_neighbors``.
    """
    x = np.unique(np.concatenate([part.cpu().double().numpy() for part in cells]), axis=0)
    n = min(LANDMARKS, int((MOST_NUMBERS / (WAVES * x.shape[1])) ** 0.5), len(x))
    if n <= n_neighbors:
        msg = (
            f"A path along the data with n_neighbors={n_neighbors} needs more than {n_neighbors} cells at different "
            f"places, of which {LANDMARKS} at most are taken; found {n}. Lower n_neighbors, at least 2, or join cells "
            "by straight lines, as method='vgfm' does."
        )
        raise ValueError(msg)
    seed = int(torch.randint(2**31, (), generator=generator))
    some = np.random.default_rng(seed).permutation(len(x))[:MOST_CELLS]
    from sklearn.cluster import kmeans_plusplus  # as slow to import as the rest of scikit-learn

    # far from each other, so that sparse stretches have some too
    landmarks, _ = kmeans_plusplus(x[some], n, random_state=seed, n_local_trials=1)
    means, like = _means_around(landmarks, x[some]), cells[0]
    waves = _waves(means, _edges(means, n_neighbors, detour))
    return Geodesics(*(torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in (landmarks, waves)))


def _means_around(landmarks: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Means of the cells of ``x`` around each of ``landmarks``: see `MOST_AROUND`."""
    most = min(MOST_AROUND, max(NEAR + 1, len(x) // SHARE_AROUND))
    away, index = nearest(landmarks, x, min(most, len(x)))
    counts = away <= REACH * away[:, [min(NEAR, away.shape[1] - 1)]]
    return (counts[..., None] * x[index]).sum(axis=1) / counts.sum(axis=1, keepdims=True)


def _edges(x: np.ndarray, n_neighbors: int, detour: float) -> np.ndarray:
    """Costs of the edges between all landmarks, placed at ``x``, shape ``(l, d)``: ``(l, l)``."""
    width = max(float(np.quantile(nearest(x, x, n_neighbors + 1)[0][:, -1], SPARSE)), SHORTEST)
    i, j = np.triu_indices(len(x), 1)
    apart = np.linalg.norm(x[i] - x[j], axis=1) + SHORTEST
    empty = np.zeros(len(i))
    for share in (np.arange(ALONG) + 0.5) / ALONG:
        away = nearest((1 - share) * x[i] + share * x[j], x, 1)[0][:, 0] / width
        empty += away**SHARPNESS / (1 + away**SHARPNESS) / ALONG
    cost = np.zeros((len(x), len(x)))
    cost[i, j] = apart * (1 + (detour - 1) * empty)
    return cost + cost.T


def _waves(x: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The waves of the shortest ways between all landmarks, placed at ``x``, as `Geodesics` has them.

    On every way from ``a`` the landmark before each other one is known, so that one 2, 4, 8, ... landmarks before it is
    found by asking again; the place at a given length is then looked up as in a table.
    """
    every = np.arange(len(x))
    paid, before = dijkstra(csr_array(cost), directed=False, return_predecessors=True)
    before[every, every] = every
    apart = cdist(x, x)
    jumps, length = [before], apart[before, every]
    while (jumps[-1] != every[:, None]).any():
        length = length + length[every[:, None], jumps[-1]]
        jumps.append(jumps[-1][every[:, None], jumps[-1]])
    avoided = 1 - (paid - length) / np.maximum(cost - apart, SHORTEST)
    worth = np.clip((avoided - LEAST_AVOIDED) / (ENOUGH_AVOIDED - LEAST_AVOIDED), 0, 1)
    worth = worth**2 * (3 - 2 * worth)
    share = (np.arange(WAYPOINTS) + 0.5) / WAYPOINTS
    sines = 2 / WAYPOINTS * np.sin(np.pi * np.arange(1, WAVES + 1)[:, None] * share)
    waves = np.empty((len(x), len(x), WAVES, x.shape[1]), dtype=np.float32)
    for a, passed in enumerate(length):
        wanted, after = passed[:, None] * share, np.repeat(every[:, None], WAYPOINTS, axis=1)
        for jump in reversed(jumps):
            earlier = jump[a][after]
            after = np.where(passed[earlier] >= wanted, earlier, after)
        last = before[a][after]
        edge = np.maximum(passed[after] - passed[last], SHORTEST)
        along = np.clip((wanted - passed[last]) / edge, 0, 1)[..., None]
        way = (1 - along) * x[last] + along * x[after]
        line = x[a] + share[:, None] * (x[:, None] - x[a])
        waves[a] = worth[a][:, None, None] * (sines @ (way - line))
    return waves
