"""Join the paths of neighbouring intervals so that velocity and growth are continuous in time.

Straight paths turn at every time point and growth jumps there: a field that no smooth network can fit and no cell
follows. A bend that vanishes at both ends of an interval takes the jump out and leaves every marginal as it is. With
two intervals or more, the velocity at a cell is the mean of how it arrived and how it leaves, weighted as for a
parabola through three times; at either end of the course it is that of a natural spline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.path import PathPoint


class Slopes(NamedTuple):
    """Velocity, shape ``(n, d)``, and growth rate, shape ``(n,)``, of the cells of one snapshot, per unit of time."""

    v: Tensor
    g: Tensor


def node_slopes(couplings: Sequence[Coupling], cells: Sequence[Tensor], times: Sequence[float]) -> list[Slopes]:
    """Slopes at the cells of every snapshot: means over the plans before and after."""
    x = [c.cpu().double().numpy() for c in cells]
    leave: list[np.ndarray] = []  # velocity and growth in one array, shape (n, d + 1)
    arrive: list[np.ndarray] = []
    for k, coupling in enumerate(couplings):
        dt = times[k + 1] - times[k]
        growth = np.log(coupling.row_mass)[:, None]
        leave.append(np.hstack([forward(coupling, x[k + 1]) - x[k], growth]) / dt)
        arrive.append(np.hstack([x[k + 1] - backward(coupling, x[k]), backward(coupling, growth)]) / dt)
    slopes = [leave[0]]
    for k in range(1, len(couplings)):
        before, after = times[k] - times[k - 1], times[k + 1] - times[k]
        slopes.append((after * arrive[k - 1] + before * leave[k]) / (before + after))
    slopes.append(arrive[-1])
    if len(couplings) > 1:  # no curvature at the ends of the course
        slopes[0] = 1.5 * leave[0] - 0.5 * forward(couplings[0], slopes[1])
        slopes[-1] = 1.5 * arrive[-1] - 0.5 * backward(couplings[-1], slopes[-2])
    like = cells[0]
    return [
        Slopes(*(torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in (s[:, :-1], s[:, -1])))
        for s in slopes
    ]


def forward(coupling: Coupling, values: np.ndarray) -> np.ndarray:
    """Mean of ``values``, shape ``(m, q)``, over each source cell's descendants."""
    return (coupling.plan @ values) / coupling.plan.sum(axis=1)[:, None]


def backward(coupling: Coupling, values: np.ndarray) -> np.ndarray:
    """Mean of ``values``, shape ``(n, q)``, over each target cell's ancestors."""
    return (coupling.plan.T @ values) / coupling.plan.sum(axis=0)[:, None]


def bend(point: PathPoint, start: PathPoint, stop: PathPoint, at0: Slopes, at1: Slopes, s: Tensor) -> PathPoint:
    """``point`` moved so that its slopes at s = 0 and 1 are ``at0`` and ``at1`` (per unit of s): a cubic Hermite bend.

    ``start`` and ``stop`` are the unbent path at s = 0 and 1.
    """
    early, late = s * (1 - s) ** 2, s**2 * (1 - s)
    early_slope, late_slope = (1 - s) * (1 - 3 * s), s * (2 - 3 * s)
    turn0, turn1 = at0.v - start.u, at1.v - stop.u
    jump0, jump1 = at0.g - start.g, at1.g - stop.g
    return PathPoint(
        point.x + early[:, None] * turn0 - late[:, None] * turn1,
        point.u + early_slope[:, None] * turn0 - late_slope[:, None] * turn1,
        point.g + early_slope * jump0 - late_slope * jump1,
        point.w * (early * jump0 - late * jump1).exp(),
    )
