"""New points and velocities onto an existing embedding.

Where the embedding is a linear map of the representation, as its first principal components are, the map is found and
applied. An embedding such as UMAP is known at the cells alone: a point is placed among the embedded cells that it is
nearest to in the representation, and a velocity is the difference of two such places, a little ahead of the cell and a
little behind, divided by the time between them. So it keeps its length, and not only its direction.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.neighbours import nearest
from vgfm_sc.core.scaling import Scaling

NEIGHBOURS = 30
"""Cells that a point is placed among: enough to even out the jitter of embedded cells."""

LANDMARKS = 20_000
"""Cells that are searched for neighbours; beyond so many, others only fill gaps that the embedding does not show."""

BLOCK_PAIRS = 4_000_000
"""Distances held at once."""

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

    cells = _tensor(scaling.to_unitless(x))
    landmarks = Landmarks(cells, _tensor(y), torch.Generator().manual_seed(seed))
    along = landmarks.displace(cells, _tensor(scaling.to_unitless(v + scaling.centre)))
    return along.numpy(), landmarks.place(_tensor(scaling.to_unitless(points))).numpy()


def carry(x: np.ndarray, y: np.ndarray, points: np.ndarray, scaling: Scaling, seed: int) -> np.ndarray:
    """What ``points``, shape ``(m, d)``, would show of ``y``, shape ``(n, q)``: weighted means over their neighbours.

    ``x``, shape ``(n, d)``: where the cells with known ``y`` are. ``seed``: of the cells that are searched.
    """
    landmarks = Landmarks(_tensor(scaling.to_unitless(x)), _tensor(y), torch.Generator().manual_seed(seed))
    return landmarks.place(_tensor(scaling.to_unitless(points))).numpy()


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float32))


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

    def __init__(self, x: Tensor, y: Tensor, generator: torch.Generator):
        some = torch.randperm(len(x), generator=generator)[:LANDMARKS].sort().values
        self.x, self.y = x[some], y[some]

    def place(self, points: Tensor) -> Tensor:
        """Places of ``points``, shape ``(m, d)``: means over their neighbours that change continuously."""
        return torch.cat([self._place(part) for part in self._blocks(points)])

    def displace(self, points: Tensor, v: Tensor) -> Tensor:
        """Velocities of the places of ``points`` that move with ``v``, both of shape ``(m, d)``.

        The points looked at lie as far ahead and behind as a cell's neighbours reach.
        """
        speed = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        parts = []
        for at, along, fast in zip(*(self._blocks(part) for part in (points, v, speed)), strict=True):
            reach = self._neighbours(at)[1][:, -1:]
            time = torch.where(fast > 0, reach / fast, 0.0)
            apart = self._place(at + time * along) - self._place(at - time * along)
            parts.append(torch.where(time > 0, apart / (2 * time), 0.0))
        return torch.cat(parts)

    def _blocks(self, points: Tensor) -> tuple[Tensor, ...]:
        return points.split(max(1, BLOCK_PAIRS // len(self.x)))

    def _neighbours(self, points: Tensor) -> tuple[Tensor, Tensor]:
        near = nearest(points, self.x, min(NEIGHBOURS + 1, len(self.x)), BLOCK_PAIRS)
        return near, torch.linalg.vector_norm(self.x[near] - points[:, None], dim=2)

    def _place(self, points: Tensor) -> Tensor:
        near, distance = self._neighbours(points)
        # weights fall to 0 at the first cell that does not count, so that nothing jumps when neighbours change
        share = (distance / distance[:, -1:].clamp(min=1e-30)).clamp(max=1)
        weight = (1 - share**2) ** 2
        weight = torch.where(weight.sum(1, keepdim=True) > 0, weight, 1.0)
        return (weight[:, :, None] * self.y[near]).sum(1) / weight.sum(1, keepdim=True)
