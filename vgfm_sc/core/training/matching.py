"""Flow matching: regress both networks on the paths of coupled pairs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.path import PathPoint
from vgfm_sc.core.training.optim import Optimiser, move_towards
from vgfm_sc.core.training.smoothing import Slopes, bend

AVERAGE = 0.995
"""Decay of the weight average that is returned; early on a shorter window is used."""

BLOCK_NUMBERS = 2**22
"""Coordinates drawn at once: many steps share one call, and no step touches more than a slice."""

Path = Callable[[Tensor, Tensor, Tensor, Tensor], PathPoint]


class Batch(NamedTuple):
    """Regression targets of one step.

    ``t``: time, shape ``(b,)``. ``x``: position, ``(b, d)``. ``v``: velocity, ``(b, d)``. ``g``: growth rate,
    ``(b,)``. ``w``: mass at that time, relative to what the draw implies, mean near 1, ``(b,)``.
    """

    t: Tensor
    x: Tensor
    v: Tensor
    g: Tensor
    w: Tensor


class Interval:
    """Pairs of one coupling, drawn with the probability of their mass.

    A pair is drawn half by the mass it starts with and half by the mass it ends with, and weighed by its mass at s:
    right at every s, and no weight exceeds about two where drawing from one end alone lets them grow as exp(g dt).
    Positions are blurred by ``noise``, standard deviations at either end. With ``slopes``, those at the cells of
    either end, the path is bent to meet them.
    """

    def __init__(
        self,
        coupling: Coupling,
        cells: tuple[Tensor, Tensor],
        times: tuple[float, float],
        path: Path,
        noise: tuple[float, float],
        slopes: tuple[Slopes, Slopes] | None,
    ):
        (self.x0, self.x1), self.times, self.path, self.noise = cells, times, path, noise
        self.dt = times[1] - times[0]
        self.slopes = None if slopes is None else [Slopes(v * self.dt, g * self.dt) for v, g in slopes]
        plan = coupling.plan
        rows = np.repeat(np.arange(plan.shape[0]), np.diff(plan.indptr))
        growth = coupling.row_mass
        start, stop = plan.data / growth[rows], plan.data
        draw = 0.5 * (start / start.sum() + stop / stop.sum())
        device = self.x0.device

        def to(values: np.ndarray, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(values, dtype=dtype, device=device)

        self.rows, self.columns = to(rows, torch.int32), to(plan.indices, torch.int32)
        self.cumulative = to(np.cumsum(draw) / draw.sum(), torch.float64 if device.type != "mps" else torch.float32)
        self.weight = to(start / draw, torch.float32)
        self.log_growth = to(np.log(growth), torch.float32)
        self.log_totals = float(np.log(start.sum())), float(np.log(stop.sum()))

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` pairs at stratified ranks and times."""
        device = self.x0.device
        rank = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
        s = ((torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n).to(device)
        pair = torch.searchsorted(self.cumulative, rank.to(self.cumulative)).clamp_(max=len(self.cumulative) - 1)
        point = self.point(self.rows[pair], self.columns[pair], s)
        x = point.x
        if any(self.noise):
            spread = (1 - s) * self.noise[0] + s * self.noise[1]
            x = x + spread[:, None] * torch.randn(x.shape, generator=generator).to(device)
        log_total = (1 - s) * self.log_totals[0] + s * self.log_totals[1]
        w = self.weight[pair] * point.w * (-log_total).exp()
        return Batch(self.times[0] + s * self.dt, x, point.u / self.dt, point.g / self.dt, w)

    def point(self, i: Tensor, j: Tensor, s: Tensor) -> PathPoint:
        """The pairs ``(i, j)`` at ``s``, derivatives per unit of s."""
        ends = self.x0[i], self.x1[j], self.log_growth[i]
        point = self.path(*ends, s)
        if self.slopes is None:
            return point
        start, stop = self.path(*ends, torch.zeros_like(s)), self.path(*ends, torch.ones_like(s))
        at0, at1 = (Slopes(v[index], g[index]) for (v, g), index in zip(self.slopes, (i, j), strict=True))
        return bend(point, start, stop, at0, at1, s)


def batches(intervals: Sequence[Interval], size: int, n_steps: int, generator: torch.Generator) -> Iterator[Batch]:
    """``n_steps`` batches with ``size`` pairs of each interval, drawn many steps at a time."""
    per_block = max(1, min(50, BLOCK_NUMBERS // (size * len(intervals) * intervals[0].x0.shape[1])))
    for first in range(0, n_steps, per_block):
        n = min(per_block, n_steps - first)
        drawn = []
        for interval in intervals:
            batch = interval.draw(n * size, generator)
            # ranks and times are stratified over the block: deal them out so that each step sees all of both
            drawn.append(Batch(*(part.unflatten(0, (size, n)).transpose(0, 1) for part in batch)))
        joined = Batch(*(torch.cat(parts, dim=1).contiguous() for parts in zip(*drawn, strict=True)))
        for k in range(n):
            yield Batch(*(part[k] for part in joined))


def match(
    networks: Networks,
    intervals: Sequence[Interval],
    *,
    size: int,
    n_steps: int,
    lr: float,
    generator: torch.Generator,
    on_step: Callable[[], None],
) -> tuple[Networks, dict[str, np.ndarray]]:
    """Minimise ``E w (|v(t, x) - v|^2 / d + (g(t, x) - g)^2)`` (:cite:p:`Wang25`, eq. 13, each path at its mass).

    Returns
    -------
    The average of the networks over the last steps, and the two losses of each step.
    """
    average = copy.deepcopy(networks)
    optimiser = Optimiser(networks, lr, n_steps)
    losses = torch.empty(n_steps, 2, device=intervals[0].x0.device)
    for k, batch in enumerate(batches(intervals, size, n_steps, generator)):
        loss = matching_loss(networks, batch)
        loss.sum().backward()
        optimiser.step()
        with torch.no_grad():
            move_towards(average, networks, 1 - min(AVERAGE, (k + 1) / (k + 10)))
            losses[k] = loss
        on_step()
    history = losses.cpu().numpy()
    if not np.isfinite(history).all():
        msg = (
            f"The matching loss is not finite from step {int(np.argmin(np.isfinite(history).all(1)))} on. Lower "
            "match_lr. Where some intervals between time points are many times as long as others, do without smooth "
            "joining, for example method=vgfm_sc.methods.vgfm(smooth=False)."
        )
        raise FloatingPointError(msg)
    return average, {"velocity": history[:, 0], "growth": history[:, 1]}


def matching_loss(networks: Networks, batch: Batch) -> Tensor:
    """The losses of velocity and growth, shape ``(2,)``."""
    v, g = networks.individual(batch.t, batch.x)
    off = torch.stack([(v - batch.v).square().mean(dim=1), (g - batch.g).square()])
    return (off * batch.w).mean(dim=1)
