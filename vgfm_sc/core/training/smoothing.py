"""Join the paths of neighbouring intervals so that velocity and growth are continuous in time.

Straight paths turn at every time point and growth jumps there: a field that no smooth network can fit and no cell
follows. A bend that vanishes at both ends of an interval takes the jump out and leaves every marginal as it is. With
two intervals or more, the velocity at a cell is the mean of how it arrived and how it leaves, weighted as for a
parabola through three times; at either end of the course it is that of a natural spline. Growth is joined in the same
way, but along the distance travelled instead of time: it follows the state of a cell, and where cells have come to
rest it has nothing left to change with. At both ends of the course growth is that of an even change over the interval.
If growth of states is known, it is the mean of this and of growth by state: an even change goes too far where growth
levels off. Where the mean growth of a pair is not between the rates at its two ends, it
stays constant over the interval: reaching both ends would take a dip or a peak that no snapshot has seen.

A slope over a short interval is mostly sampling noise divided by little time. Kept through a long interval beside it,
it would carry cells far beyond both snapshots, so no interval is bent by more than a few times what happens in it.

Paths that keep to the data have slopes of their own at the cells, and those are averaged. A bend added to a path that
turns leads off the data, so it is bent the less the more it turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.path import Path, PathPoint

VELOCITY_RUNOUT = 0.5
"""How far the first and last interval are extrapolated: no curvature at the ends of the course, as a natural spline."""

GROWTH_RUNOUT = 1.0
"""Growth changes evenly over the first and the last interval: its change is a rate of the state, not a force."""

SHORTEST = 1e-9
"""Added to distances, so that cells that never move share alike."""

MOST = 4.0
"""How far off the mean of an interval a slope may be, in root mean square changes of its cells over that interval."""

FREE = 1.0
"""A change of log mass over an interval that is always allowed: growth may set in where there was none."""


MOST_BENT = 4 / 27
"""Highest value of s (1 - s)^2: how far a turn bends a path at most."""

ROOM = 0.5
"""Share of the way from the straight line to the edge of the box that a bend may take: what is learnt is only nearly
the path, and paths along the edge would be learnt to leave it."""

LOOKED_AT = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
"""Shares of an interval at which it is measured how far a path is bent: a cubic cannot do much in between."""

EASING = 4
"""Power of the cosines by which paths that turn are bent less: a path that leaves at 45 degrees is bent by a quarter,
and one that sets out at a right angle, as a half circle does, not at all."""

BLOCK_PAIRS = 20_000
"""Pairs whose paths are held at once."""


class Box(NamedTuple):
    """The range of all cells along every axis, shapes ``(d,)``."""

    low: Tensor
    high: Tensor


class Slopes(NamedTuple):
    """Velocity, shape ``(n, d)``, and growth rate, shape ``(n,)``, of the cells of one snapshot, per unit of time."""

    v: Tensor
    g: Tensor


def node_slopes(
    couplings: Sequence[Coupling],
    cells: Sequence[Tensor],
    times: Sequence[float],
    path: Path | None = None,
    at_ends: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[Slopes]:
    """Slopes at the cells of every snapshot: means over the plans before and after.

    With ``path`` velocities are means of those that paths leave and arrive with, in place of straight lines. With
    ``at_ends``, see `vgfm_sc.core.transport.growth.at_ends`, growth at both ends of a course of two intervals or more
    is the mean of an even change and of growth by state.
    """
    x = [c.cpu().double().numpy() for c in cells]
    leave, arrive, grow, grown = [], [], [], []  # displacement and growth over each interval, seen from either end
    for k, coupling in enumerate(couplings):
        if path is None:
            leave.append(coupling.over_descendants(x[k + 1]) - x[k])
            arrive.append(x[k + 1] - coupling.over_ancestors(x[k]))
        else:
            for means, mean in zip((leave, arrive), _end_slopes(coupling, cells[k], cells[k + 1], path), strict=True):
                means.append(mean)
        grow.append(np.log(coupling.row_mass)[:, None])
        grown.append(coupling.over_ancestors(coupling.early_growth[:, None]) + coupling.late_growth[:, None])
    dt = np.diff(times)
    way_on, way_here = (
        [np.linalg.norm(part, axis=1, keepdims=True) + SHORTEST for part in of] for of in (leave, arrive)
    )
    most_v = [MOST * _size(part) / t for part, t in zip(leave, dt, strict=True)]
    most_g = [max(MOST * _size(part), FREE) / t for part, t in zip(grow, dt, strict=True)]
    for means in (leave, arrive, grow, grown):
        for part, t in zip(means, dt, strict=True):
            part /= t  # in place: velocities are as large as the data
    v = _joined(
        couplings,
        leave,
        arrive,
        [np.full((len(part), 1), t) for part, t in zip(leave, dt, strict=True)],
        [np.full((len(part), 1), t) for part, t in zip(arrive, dt, strict=True)],
        most_v,
        VELOCITY_RUNOUT,
    )
    g = _joined(couplings, grow, grown, way_on, way_here, most_g, GROWTH_RUNOUT)
    if at_ends is not None and len(couplings) > 1:
        for k, mean, log_growth in zip((0, -1), (grow[0], grown[-1]), at_ends, strict=True):
            g[k] = _within((g[k] + log_growth[:, None] / dt[k]) / 2, mean, most_g[k])
    like = cells[0]
    return [
        Slopes(*(torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in (v_k, g_k[:, 0])))
        for v_k, g_k in zip(v, g, strict=True)
    ]


def _end_slopes(coupling: Coupling, x0: Tensor, x1: Tensor, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean slopes with which paths leave the source cells and arrive at the target cells, ``(n, d)`` and ``(m, d)``."""
    plan = coupling.plan
    rows = np.repeat(np.arange(plan.shape[0]), np.diff(plan.indptr))
    sums = [np.zeros(x.shape) for x in (x0, x1)]
    for first in range(0, plan.nnz, BLOCK_PAIRS):
        block = slice(first, first + BLOCK_PAIRS)
        i, j, mass = rows[block], plan.indices[block], plan.data[block]
        start, stop = (x[torch.as_tensor(of, device=x.device).long()] for x, of in ((x0, i), (x1, j)))
        still = torch.zeros_like(start[:, 0])
        for total, of, s in zip(sums, (i, j), (still, still + 1), strict=True):
            u = path(start, stop, still, s).u.cpu().double().numpy()
            total += csr_array((mass, (of, np.arange(len(of)))), shape=(len(total), len(of))) @ u
    return sums[0] / plan.sum(axis=1)[:, None], sums[1] / plan.sum(axis=0)[:, None]


def eased(start: PathPoint, stop: PathPoint, at0: Slopes, at1: Slopes) -> tuple[Slopes, Slopes]:
    """``at0`` and ``at1`` nearer to the slopes of a path, from ``start`` to ``stop``, that turns: see `EASING`."""
    way = stop.x - start.x
    share = torch.ones_like(way[:, 0])
    for u in (start.u, stop.u):
        share = share * torch.nn.functional.cosine_similarity(u, way).clamp(min=0) ** EASING
    v0, v1 = (torch.lerp(end.u, at.v, share[:, None]) for end, at in ((start, at0), (stop, at1)))
    return Slopes(v0, at0.g), Slopes(v1, at1.g)


def _joined(
    couplings: Sequence[Coupling],
    leave: Sequence[np.ndarray],
    arrive: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    before: Sequence[np.ndarray],
    most: Sequence[float],
    runout: float,
) -> list[np.ndarray]:
    """Values at the cells of every snapshot from means over the intervals.

    ``leave`` and ``arrive`` hold an interval's mean for its source and its target cells, ``after`` and ``before`` its
    length as they see it, ``most`` how far from its mean a value may lie.
    """
    inner = []
    for k in range(1, len(couplings)):
        value = (after[k] * arrive[k - 1] + before[k - 1] * leave[k]) / (before[k - 1] + after[k])
        sides = (most[k - 1], arrive[k - 1]), (most[k], leave[k])
        for allowed, mean in sorted(sides, key=lambda side: -side[0]):  # that which allows less has the last word
            value = _within(value, mean, allowed)
        inner.append(value)
    if not inner:
        return [leave[0], arrive[0]]
    first = leave[0] + runout * (leave[0] - couplings[0].over_descendants(inner[0]))
    last = arrive[-1] + runout * (arrive[-1] - couplings[-1].over_ancestors(inner[-1]))
    return [first, *inner, last]


def _size(change: np.ndarray) -> float:
    """Root mean square length of changes, shape ``(n, q)``."""
    return np.sqrt((change**2).sum(axis=1).mean())


def _within(values: np.ndarray, centres: np.ndarray, radius: float) -> np.ndarray:
    """``values``, shape ``(n, q)``, moved towards ``centres`` until none is farther off than ``radius``."""
    offset = values - centres
    return centres + offset * np.minimum(1, radius / (np.linalg.norm(offset, axis=1, keepdims=True) + SHORTEST))


def bend(
    point: PathPoint, start: PathPoint, stop: PathPoint, at0: Slopes, at1: Slopes, s: Tensor, box: Box | None = None
) -> PathPoint:
    """``point`` moved so that its slopes at s = 0 and 1 are ``at0`` and ``at1`` (per unit of s): a cubic Hermite bend.

    ``start`` and ``stop`` are the unbent path at s = 0 and 1. Growth is bent only where its mean lies between the ends.
    Along an axis on which it would come nearer to the edge of ``box`` than `ROOM` allows, it is bent less.
    """
    early, late = s * (1 - s) ** 2, s**2 * (1 - s)
    early_slope, late_slope = (1 - s) * (1 - 3 * s), s * (2 - 3 * s)
    turn0, turn1 = at0.v - start.u, at1.v - stop.u
    if box is not None:
        turn0, turn1 = _kept(start.x, stop.x, turn0, turn1, box)
    jump0, jump1 = at0.g - start.g, at1.g - stop.g
    between = (jump0 * jump1 <= 0).to(s)
    jump0, jump1 = between * jump0, between * jump1
    return PathPoint(
        point.x + early[:, None] * turn0 - late[:, None] * turn1,
        point.u + early_slope[:, None] * turn0 - late_slope[:, None] * turn1,
        point.g + early_slope * jump0 - late_slope * jump1,
        point.w * (early * jump0 - late * jump1).exp(),
    )


def _kept(x0: Tensor, x1: Tensor, turn0: Tensor, turn1: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Turns, shape ``(n, d)``, of lines from ``x0`` to ``x1``, made smaller where these would be bent too far."""
    largest = MOST_BENT / ROOM * (turn0.abs() + turn1.abs())
    near = ((torch.maximum(x0, x1) + largest > box.high) | (torch.minimum(x0, x1) - largest < box.low)).any(dim=1)
    if not near.any():
        return turn0, turn1
    x0, x1, first, last = (part[near] for part in (x0, x1, turn0, turn1))
    share = torch.ones_like(x0)
    for s in LOOKED_AT:
        off = s * (1 - s) ** 2 * first - s**2 * (1 - s) * last
        at = torch.lerp(x0, x1, s)
        room = ROOM * torch.where(off > 0, box.high - at, at - box.low)
        share = torch.minimum(share, room / off.abs().clamp(min=SHORTEST))
    share = share.clamp(min=0)
    turn0, turn1 = turn0.clone(), turn1.clone()
    turn0[near], turn1[near] = share * first, share * last
    return turn0, turn1
