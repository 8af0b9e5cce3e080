"""Where a coupled pair is in between, and how it moves and grows there."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class PathPoint(NamedTuple):
    """A pair at ``s`` in [0, 1] of its interval.

    ``x``: position, shape ``(n, d)``. ``u``: dx/ds, shape ``(n, d)``. ``g``: d log m / ds, shape ``(n,)``.
    ``w``: mass per unit of mass at s = 0, shape ``(n,)``.
    """

    x: Tensor
    u: Tensor
    g: Tensor
    w: Tensor


def straight(x0: Tensor, x1: Tensor, log_growth: Tensor, s: Tensor) -> PathPoint:
    """Straight line at constant speed, mass growing at constant rate (:cite:p:`Wang25`, section 4.2).

    ``x0``, ``x1`` have shape ``(n, d)``; ``log_growth``, the log of what a unit of mass becomes, and ``s`` have
    shape ``(n,)``.
    """
    u = x1 - x0
    return PathPoint(x0 + s[:, None] * u, u, log_growth, (s * log_growth).exp())
