"""Nearest cells, and means over them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.spatial import KDTree
from torch import Tensor

TREE_DIMS = 5
"""Up to so many dimensions a tree is faster than all distances (docs/benchmarks/speed.md, Nearest neighbours)."""

QUERIES = 1000
"""Cells whose nearest neighbour is looked up for the spacing: enough for a median."""


def nearest(points: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` cells of ``x`` nearest to each of ``points``, nearest first: their distances and numbers, ``(m, k)``.

    Exact: by a tree in few dimensions, by all distances, a block at a time, in many.
    """
    if x.shape[1] <= TREE_DIMS:
        distance, index = KDTree(x).query(points, np.arange(1, k + 1), workers=torch.get_num_threads())
        return distance, index
    from sklearn.neighbors import NearestNeighbors  # loads scipy.stats: most of a second

    return NearestNeighbors(n_neighbors=k, algorithm="brute", n_jobs=1).fit(x).kneighbors(points)


def kernel(points: np.ndarray, x: np.ndarray, k: int) -> csr_array:
    """Weight of each of the ``k`` nearest cells of ``x`` for each of ``points``, shape ``(m, n)``.

    Weights fall with the distance and reach 0 at the nearest cell that does not count, so that nothing jumps when
    neighbours change. Points at one place with all their neighbours weigh them alike.
    """
    distance, index = nearest(points, x, min(k + 1, len(x)))
    share = distance / np.maximum(distance[:, -1:], np.finfo(float).tiny)
    weight = (1 - share**2) ** 2
    weight[~weight.any(axis=1)] = 1.0
    pointers = np.arange(len(points) + 1) * index.shape[1]
    return csr_array((weight.ravel(), index.ravel(), pointers), shape=(len(points), len(x)))


def spacing(x: Tensor) -> float:
    """Median distance of a position of ``x``, shape ``(n, d)``, to the nearest other one, per axis.

    Cells at one point, as where expression is cut off at 0 or cells are drawn twice, count once.
    """
    places = torch.unique(x.cpu(), dim=0).numpy()
    if len(places) < 2:
        return 0.0
    distance, _ = nearest(places[:: max(1, len(places) // QUERIES)], places, 2)
    return float(np.median(distance[:, 1])) / places.shape[1] ** 0.5
