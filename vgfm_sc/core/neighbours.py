"""Nearest cells."""

from __future__ import annotations

import torch
from torch import Tensor

QUERIES = 1000
"""Cells whose nearest neighbour is looked up for the spacing: enough for a median."""


def nearest(points: Tensor, x: Tensor, k: int, block: int) -> Tensor:
    """The ``k`` cells of ``x`` nearest to each of ``points``, nearest first, ``(m, k)``; ``block`` pairs at once."""
    half_squares = x.square().sum(1) / 2
    return torch.cat(
        [
            torch.addmm(half_squares, rows, x.T, alpha=-1).topk(k, largest=False).indices
            for rows in points.split(max(1, block // len(x)))
        ]
    )


def spacing(x: Tensor, block: int) -> float:
    """Median distance of a position of ``x``, shape ``(n, d)``, to the nearest other one, per axis.

    Cells at one point, as where expression is cut off at 0 or cells are drawn twice, count once.
    """
    x = x.cpu().unique(dim=0).to(x)  # not every device can
    if len(x) < 2:
        return 0.0
    some = x[:: max(1, len(x) // QUERIES)]
    gaps = [torch.cdist(rows, x).topk(2, largest=False).values[:, 1] for rows in some.split(max(1, block // len(x)))]
    return float(torch.cat(gaps).median()) / x.shape[1] ** 0.5
