"""Where a coupled pair is in between, and how it moves and grows there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LEAST_ANGLE = 1e-6
"""Taken for the angle of pairs nearer than that: sines are then as their angles, in single precision too."""


class PathPoint(NamedTuple):
    """A pair at ``s`` in [0, 1] of its interval.

    ``x``: position, shape ``(n, d)``. ``u``: dx/ds, shape ``(n, d)``. ``g``: d log m / ds, shape ``(n,)``.
    ``w``: mass per unit of mass at s = 0, shape ``(n,)``.
    """

    x: Tensor
    u: Tensor
    g: Tensor
    w: Tensor


Path = Callable[[Tensor, Tensor, Tensor, Tensor], PathPoint]
"""``(x0, x1, log_growth, s)``, as of `straight`."""


def straight(x0: Tensor, x1: Tensor, log_growth: Tensor, s: Tensor) -> PathPoint:
    """Straight line at constant speed, mass growing at constant rate (:cite:p:`Wang25`, section 4.2).

    ``x0``, ``x1`` have shape ``(n, d)``; ``log_growth``, the log of what a unit of mass becomes, and ``s`` have
    shape ``(n,)``.
    """
    u = x1 - x0
    return PathPoint(x0 + s[:, None] * u, u, log_growth, (s * log_growth).exp())


def travelling(x0: Tensor, x1: Tensor, log_growth: Tensor, s: Tensor, *, delta: float) -> PathPoint:
    """Travelling Dirac of Wasserstein-Fisher-Rao: mass quadratic in s, mass times velocity constant.

    In polar coordinates whose radius is the root of the mass and whose angle is the way travelled over 2 ``delta``,
    a pair moves along a straight line at constant speed (:cite:p:`Liero18`). ``delta`` is a share of the root mean
    squared distance of two cells, which is ``sqrt(2 d)`` here. Beyond pi ``delta`` nothing travels: mass ``(1 - s)^2``
    is left at ``x0``, mass ``s^2 exp(log_growth)`` has grown at ``x1``, and the pair is where there is more.
    """
    apart = x1 - x0
    angle = apart.norm(dim=1) / (2 * delta * math.sqrt(2 * x0.shape[1]))
    far, angle = angle >= math.pi / 2, angle.clamp(LEAST_ANGLE, math.pi / 2)
    root, rise = (log_growth / 2).exp(), angle.sin()
    change = torch.expm1(log_growth / 2) - 2 * root * (angle / 2).sin().square()  # root cos(angle) - 1
    along, across = (1 - s) + s * root * angle.cos(), s * root * rise
    mass = along.square() + across.square()
    share = torch.atan2(across, along) / angle
    speed, g = root * rise / (angle * mass), 2 * (along * change + across * root * rise) / mass
    born = s * root > 1 - s
    share, speed = torch.where(far, born.to(share), share), torch.where(far, 0.0, speed)
    mass = torch.where(far, torch.where(born, (s * root).square(), (1 - s).square()), mass)
    g = torch.where(far, torch.where(born, 2 / s, -2 / (1 - s)), g)
    return PathPoint(x0 + share[:, None] * apart, speed[:, None] * apart, g, mass)
