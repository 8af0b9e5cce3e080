"""New points and velocities onto an existing embedding.

Where the embedding is a linear map of the representation, as its first principal components are, the map is found and
applied. An embedding such as UMAP is known at the cells alone: a point is placed among the embedded cells that it is
nearest to in the representation, and a velocity is the difference of two such places, a little ahead of the cell and a
little behind, divided by the time between them. So it keeps its length, and not only its direction.
"""

from __future__ import annotations

import math

import numpy as np

from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.neighbours import TREE_DIMS, kernel, nearest

NEIGHBOURS = 30
"""Cells that a point is placed among: enough to even out the jitter of embedded cells."""

LANDMARKS = 20_000
"""Cells that are searched for neighbours; beyond so many, others only fill gaps that the embedding does not show."""

IN_MANY_DIMS = 0.5
"""Share of `LANDMARKS` that is searched in more than `TREE_DIMS` dimensions. There each cell is compared with all of
them, and half as many find neighbours that are hardly farther away (docs/benchmarks/large.md)."""

OF_REACH = 4
"""How far a cell's neighbours reach is measured with one landmark in so many, where a sample is searched in more than
`TREE_DIMS` dimensions: it sets the length of a step, which need not be exact."""

BLOCK_POINTS = 50_000
"""Points whose neighbours are held at once: 25 MB, however many trajectories there are."""

LINEAR_TOL = 1e-4
"""Largest share of the embedding's spread that a linear map may miss it by: the rounding of single precision."""

MOST_ROWS = 20_000
"""Cells that a linear map is fitted to, and as many that it is tested on."""


def project(
    x: np.ndarray, y: np.ndarray, v: np.ndarray, points: np.ndarray, scaling: Scaling, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Velocities of cells, and places of other points, on an embedding of the cells.

    Parameters
    ----------
    x, v
        Positions and velocities of the cells in the representation, shape ``(n, d)``.
    y
        Their places in the embedding, shape ``(n, q)``.
    points
        Positions to place, shape ``(m, d)``.
    scaling
        Of the fit: distances are those that training sees.
    seed
        Of the cells that are searched.

    Returns
    -------
    Shapes ``(n, q)`` and ``(m, q)``, in units of the embedding (per unit of time).
    """
    found = linear_map(x, y, np.random.default_rng(seed))
    if found is not None:
        matrix, offset = found
        return v @ matrix, points @ matrix + offset

    cells = scaling.to_unitless(x)
    landmarks = Landmarks(cells, y, seed)
    along = landmarks.displace(cells, scaling.to_unitless(v + scaling.centre))
    return along, landmarks.place(scaling.to_unitless(points))


def carry(x: np.ndarray, y: np.ndarray, points: np.ndarray, scaling: Scaling, seed: int) -> np.ndarray:
    """What ``points``, shape ``(m, d)``, would show of ``y``, shape ``(n, q)``: weighted means over their neighbours.

    ``x``, shape ``(n, d)``: where the cells with known ``y`` are. ``seed``: of the cells that are searched.
    """
    return Landmarks(scaling.to_unitless(x), y, seed).place(scaling.to_unitless(points))


def linear_map(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Matrix, shape ``(d, q)``, and offset, ``(q,)``, that make ``y`` of ``x``; `None` if there is no such map.

    Fitted to half of the cells and tested on the other half, so that a map with as many numbers as cells is not taken
    for a law.
    """
    rows = rng.permutation(len(x))[: 2 * MOST_ROWS]
    half = len(rows) // 2
    if half <= x.shape[1] + 1:
        return None
    centre, middle = x[rows[:half]].mean(axis=0), y[rows[:half]].mean(axis=0)
    matrix = np.linalg.lstsq(x[rows[:half]] - centre, y[rows[:half]] - middle)[0]
    offset = middle - centre @ matrix
    off = x[rows[half:]] @ matrix + offset - y[rows[half:]]
    return (matrix, offset) if np.abs(off).max() <= LINEAR_TOL * y.std() else None


class Landmarks:
    """Cells with their places in an embedding: positions ``x``, shape ``(n, d)``, and places ``y``, ``(n, q)``."""

    def __init__(self, x: np.ndarray, y: np.ndarray, seed: int):
        some = searched(x, seed)
        self.x, self.y = x[some].astype(np.float32), np.asarray(y)[some]
        self._every = OF_REACH if x.shape[1] > TREE_DIMS and len(some) < len(x) else 1

    def place(self, points: np.ndarray) -> np.ndarray:
        """Places of ``points``, shape ``(m, d)``: means over their neighbours that change continuously."""
        parts = [self._place(part) for part in _blocks(points)]
        return np.concatenate(parts) if parts else np.empty((0, self.y.shape[1]))

    def displace(self, points: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Velocities of the places of ``points`` that move with ``v``, both of shape ``(m, d)``.

        The points looked at lie as far ahead and behind as a cell's neighbours reach.
        """
        speed = np.linalg.norm(v, axis=1, keepdims=True)
        some, parts = self.x[:: self._every], []
        last = min(math.ceil((NEIGHBOURS + 1) / self._every), len(some))
        for at, along, fast in zip(*(_blocks(part) for part in (points, v, speed)), strict=True):
            reach = nearest(at.astype(np.float32), some, last)[0][:, -1:]
            time = np.divide(reach, fast, out=np.zeros_like(fast), where=fast > 0)
            apart = self._place(at + time * along) - self._place(at - time * along)
            parts.append(np.divide(apart, 2 * time, out=np.zeros_like(apart), where=time > 0))
        return np.concatenate(parts)

    def _place(self, points: np.ndarray) -> np.ndarray:
        weight = kernel(points.astype(np.float32), self.x, NEIGHBOURS)
        return (weight @ self.y) / weight.sum(axis=1)[:, None]


def searched(x: np.ndarray, seed: int) -> np.ndarray:
    """Which cells of ``x``, shape ``(n, d)``, are searched for neighbours, increasing.

    All, or `LANDMARKS` of them at random if there are more; in more than `TREE_DIMS` dimensions `IN_MANY_DIMS` of that.
    """
    most = LANDMARKS if x.shape[1] <= TREE_DIMS else int(IN_MANY_DIMS * LANDMARKS)
    if len(x) <= most:
        return np.arange(len(x))
    return np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False))


def _blocks(points: np.ndarray) -> list[np.ndarray]:
    return [points[first : first + BLOCK_POINTS] for first in range(0, len(points), BLOCK_POINTS)]
