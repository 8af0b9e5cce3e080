"""Flow matching: regress velocity and growth on the paths of coupled pairs, and learn the score along them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.dynamics.networks import NO_CONDITION, Networks
from vgfm_sc.core.path import Path, PathPoint
from vgfm_sc.core.threads import Share
from vgfm_sc.core.training.checkpoint import NOWHERE, Underway
from vgfm_sc.core.training.optim import Average, Optimiser, state, take_up
from vgfm_sc.core.training.smoothing import Box, Slopes, bend, eased

AVERAGE = 0.995
"""Decay of the weight average that is returned; early on a shorter window is used."""

BLOCK_NUMBERS = 2**22
"""Coordinates drawn at once: many steps share one call, and no step touches more than a slice."""

WIDENING, MOST_WIDER = 0.25, 1.5
"""Noise on positions grows with half the number of axes to this power, at most so many times. Along two axes, noise as
wide as the distance between cells mixes them. Along many, it leaves every cell far from its neighbours, and networks
learn how single cells happen to be paired: they give cells near a fork a certain fate, which is often the wrong one.
With noise 2.7 times as wide, real cells in 100 components were predicted badly at times left out."""

FOLLOWED = 0.2
"""Share of the change of the noise over an interval that velocities follow. Noise hides in part how populations
contract or expand. It changes with the distance between cells, as they do, and makes up for it. Networks tell many
cells apart in spite of the noise, so with 1 populations contracted too much."""

SCORE_BLUR = 0.3
"""Standard deviation, per axis, of the blur that the score is learnt with, as a share of the distance between a cell
and its nearest neighbour per axis."""

LEAST_BLUR = 0.03
"""Unitless; where cells share one point, as copies do, their density has no score without it."""

SHORTEST_SHARE = 0.01
"""Of an interval, from either end, within which the slope of a Brownian bridge is taken for what it is there: at the
ends it has no bound."""


FEW_CELLS, LEAST_LR = 3, 0.5
"""Cells of a snapshot for each axis and interval below which the learning rate falls with their number, and the least
share of it. What is learnt from few cells is how they happen to be paired; in many dimensions others are carried off by
it, the farther the more intervals follow each other."""

BRIDGE_LR = 0.3
"""Learning rate of Brownian bridges as a share of that of other paths, for all layers alike. Velocity along a bridge is
mostly noise, of which short steps average more. Bridges fan out from single cells, which slow first layers do not
learn: in many dimensions cells were carried off."""

DROPPED = 0.1
"""Share of the pairs that do not say which condition they are of: so what conditions have in common is learnt by the
numbers that all of them use."""


class Batch(NamedTuple):
    """Regression targets of one step.

    ``t``: time, shape ``(b,)``. ``x``: position, ``(b, d)``. ``v``: velocity, ``(b, d)``. ``g``: growth rate,
    ``(b,)``. ``w``: mass at that time, relative to what the draw implies, mean near 1, ``(b,)``. ``on_path``: position
    before the noise, ``(b, d)``. ``h``, ``z``: size and direction of the displacement from there at which the score is
    asked for, ``(b,)`` and ``(b, d)``. ``condition``: its number, where there are conditions, ``(b,)``.
    """

    t: Tensor
    x: Tensor
    v: Tensor
    g: Tensor
    w: Tensor
    on_path: Tensor
    h: Tensor
    z: Tensor
    condition: Tensor | None = None


class Spread(NamedTuple):
    """Standard deviations, per axis and unitless.

    ``noise``: of the noise on positions, at either end of an interval. ``score``: of what the score is learnt with,
    likewise. ``bridge``: of Brownian motion over the interval, that the path is a bridge of.
    """

    noise: tuple[float, float]
    score: tuple[float, float]
    bridge: float = 0.0


class Interval:
    """Pairs of one coupling, drawn with the probability of their mass.

    A pair is drawn half by the mass it starts with and half by the mass it ends with, and weighed by its mass at s:
    right at every s, and no weight exceeds about two where drawing from one end alone lets them grow as exp(g dt).
    Positions are blurred as ``spread`` says, and velocities follow the change of the blur as far as `FOLLOWED` says.
    With ``slopes``, those at the cells of either end, the path is bent to meet them, as far as that leaves it in
    ``box``; if it is ``curved``, the less the more it turns. With a ``condition`` batches carry it, but for a share of
    `DROPPED`.
    """

    def __init__(
        self,
        coupling: Coupling,
        cells: tuple[Tensor, Tensor],
        times: tuple[float, float],
        path: Path,
        spread: Spread,
        slopes: tuple[Slopes, Slopes] | None,
        condition: int | None = None,
        *,
        box: Box | None = None,
        curved: bool = False,
    ):
        (self.x0, self.x1), self.times, self.path, self.spread = cells, times, path, spread
        self.condition, self.box, self.curved = condition, box, curved
        self.dt = times[1] - times[0]
        self.slopes = None if slopes is None else [Slopes(v * self.dt, g * self.dt) for v, g in slopes]
        plan = coupling.plan
        rows = np.repeat(np.arange(plan.shape[0]), np.diff(plan.indptr))
        early, late = coupling.early_growth, coupling.late_growth
        start, stop = plan.data * np.exp(-early[rows] - late[plan.indices]), plan.data
        draw = 0.5 * (start / start.sum() + stop / stop.sum())
        device = self.x0.device

        def to(values: np.ndarray, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(values, dtype=dtype, device=device)

        self.rows, self.columns = to(rows, torch.int32), to(plan.indices, torch.int32)
        self.cumulative = to(np.cumsum(draw) / draw.sum(), torch.float64 if device.type != "mps" else torch.float32)
        self.weight = to(start / draw, torch.float32)
        self.early, self.late = to(early, torch.float32), to(late, torch.float32)
        self.log_totals = float(np.log(start.sum())), float(np.log(stop.sum()))

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` pairs at stratified ranks and times."""
        device = self.x0.device
        rank = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
        s = ((torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n).to(device)
        pair = torch.searchsorted(self.cumulative, rank.to(self.cumulative)).clamp_(max=len(self.cumulative) - 1)
        point = self.point(self.rows[pair], self.columns[pair], s)
        x, u = point.x, point.u

        def drawn() -> Tensor:
            return torch.randn(x.shape, generator=generator).to(device)

        if self.spread.bridge:
            from_end = s.clamp(SHORTEST_SHARE, 1 - SHORTEST_SHARE)
            inside, least = ((p * (1 - p)).sqrt()[:, None] for p in (s, from_end))
            wander = self.spread.bridge * drawn()
            x, u = x + inside * wander, u + (1 - 2 * from_end)[:, None] / (2 * least) * wander
        log_total = (1 - s) * self.log_totals[0] + s * self.log_totals[1]
        w = self.weight[pair] * point.w * (-log_total).exp()
        noise, h = ((1 - s) * start + s * stop for start, stop in (self.spread.noise, self.spread.score))
        blurred = x
        if any(self.spread.noise):
            start, stop = self.spread.noise
            apart = drawn()
            blurred, u = x + noise[:, None] * apart, u + FOLLOWED * (stop - start) * apart
        batch = Batch(self.times[0] + s * self.dt, blurred, u / self.dt, point.g / self.dt, w, x, h, drawn())
        if self.condition is None:
            return batch
        kept = torch.rand(n, generator=generator) >= DROPPED
        return batch._replace(condition=torch.where(kept, self.condition, NO_CONDITION).to(device))

    def point(self, i: Tensor, j: Tensor, s: Tensor) -> PathPoint:
        """The pairs ``(i, j)`` at ``s``, derivatives per unit of s."""
        ends = self.x0[i], self.x1[j], self.early[i] + self.late[j]
        point = self.path(*ends, s)
        if self.slopes is None:
            return point
        start, stop = self.path(*ends, torch.zeros_like(s)), self.path(*ends, torch.ones_like(s))
        at0, at1 = (Slopes(v[index], g[index]) for (v, g), index in zip(self.slopes, (i, j), strict=True))
        if self.curved:
            at0, at1 = eased(start, stop, at0, at1)
        return bend(point, start, stop, at0, at1, s, self.box)


def steps_a_block(intervals: Sequence[Interval], size: int) -> int:
    """Steps whose batches are drawn at once."""
    return max(1, min(50, BLOCK_NUMBERS // (size * len(intervals) * intervals[0].x0.shape[1])))


def batches(
    intervals: Sequence[Interval], size: int, n_steps: int, generator: torch.Generator, first_step: int = 0
) -> Iterator[Batch]:
    """Batches of steps ``first_step``, at a border of blocks, to ``n_steps``, with ``size`` pairs of each interval."""
    per_block = steps_a_block(intervals, size)
    for first in range(first_step, n_steps, per_block):
        n = min(per_block, n_steps - first)
        drawn = []
        for interval in intervals:
            batch = interval.draw(n * size, generator)
            # ranks and times are stratified over the block: deal them out so that each step sees all of both
            parts = [part for part in batch if part is not None]
            drawn.append([part.unflatten(0, (size, n)).transpose(0, 1) for part in parts])
        joined = [torch.cat(parts, dim=1).contiguous() for parts in zip(*drawn, strict=True)]
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
    underway: Underway = NOWHERE,
    share: Share = map,
) -> tuple[Networks, dict[str, np.ndarray]]:
    """Minimise ``E w (|v(t, x) - v|^2 / d + (g(t, x) - g)^2)`` (:cite:p:`Wang25`, eq. 13, each path at its mass).

    And the loss of the score where the networks have one. Goes on from what is found ``underway``. Threads of ``share``
    take one network each.

    Returns
    -------
    The average of the networks over the last steps, and the losses of each step.
    """
    slower, lr = networks.input_layers(), lr * rate_of(intervals)
    if any(interval.spread.bridge for interval in intervals):
        slower, lr = [], BRIDGE_LR * lr
    average, optimiser = Average(networks), Optimiser(networks, lr, n_steps, slower)
    parts = {"velocity": velocity_loss, "growth": growth_loss, "score": score_loss}
    names = list(parts) if networks.density is not None else ["velocity", "growth"]
    apart = share if networks.conditions is None else map  # all networks learn what stands for a condition
    losses = torch.empty(n_steps, len(names), device=intervals[0].x0.device)
    per_block, first = steps_a_block(intervals, size), 0
    if underway.found is not None:
        first = take_up(underway.found, optimiser, average, generator)
        losses[:first] = torch.as_tensor(underway.found["losses"])
    for k, batch in enumerate(batches(intervals, size, n_steps, generator, first), start=first):
        losses[k] = torch.stack(list(apart(partial(_descend, networks, batch), [parts[name] for name in names])))
        optimiser.step()
        average.follow(optimiser.values, 1 - min(AVERAGE, (k + 1) / (k + 10)))
        if (k + 1) % per_block == 0:  # the generator has not yet drawn for any further step
            underway.reached({**state(optimiser, average, generator), "losses": losses[: k + 1]})
        on_step()
    history = losses.cpu().numpy()
    if not np.isfinite(history).all():
        msg = (
            f"The matching loss is not finite from step {int(np.argmin(np.isfinite(history).all(1)))} on. Lower "
            "match_lr. Where some intervals between time points are many times as long as others, do without smooth "
            "joining, for example method=vgfm_sc.methods.vgfm(smooth=False)."
        )
        raise FloatingPointError(msg)
    return average.networks, dict(zip(names, history.T, strict=True))


def noise_between(gap: float, n_dims: int) -> float:
    """Noise per axis as wide as the distance ``gap`` between cells, which is per axis too: see `WIDENING`."""
    return min(max(n_dims / 2, 1) ** WIDENING, MOST_WIDER) * gap


def loss(networks: Networks, intervals: Sequence[Interval], size: int, generator: torch.Generator) -> Tensor:
    """What `match` minimises but for the score, on ``size`` pairs of each interval."""
    drawn = [interval.draw(size, generator) for interval in intervals]
    batch = Batch(*(torch.cat(parts) for parts in zip(*drawn, strict=True) if parts[0] is not None))
    return velocity_loss(networks, batch) + growth_loss(networks, batch)


def rate_of(intervals: Sequence[Interval]) -> float:
    """Share of the learning rate that the cells of ``intervals`` are enough for, see `FEW_CELLS`."""
    mean = np.mean([(len(interval.x0) + len(interval.x1)) / 2 for interval in intervals])
    n_intervals = len(intervals) / len({interval.condition for interval in intervals})  # of a course
    return float(np.clip(mean / (FEW_CELLS * intervals[0].x0.shape[1] * n_intervals), LEAST_LR, 1.0))


def _descend(networks: Networks, batch: Batch, part: Callable[[Networks, Batch], Tensor]) -> Tensor:
    """Add the gradient of a ``part`` of the loss to those of the weights, and return it."""
    loss = part(networks, batch)
    loss.backward()
    return loss.detach()


def velocity_loss(networks: Networks, batch: Batch) -> Tensor:
    """``E w |v(t, x) - v|^2 / d``."""
    v = networks.velocity(networks.state(batch.t, batch.x, batch.condition))
    return ((v - batch.v).square().mean(dim=1) * batch.w).mean()


def growth_loss(networks: Networks, batch: Batch) -> Tensor:
    """``E w (g(t, x) - g)^2``."""
    g = networks.growth(networks.state(batch.t, batch.x, batch.condition))[:, 0]
    return ((g - batch.g).square() * batch.w).mean()


def score_loss(networks: Networks, batch: Batch) -> Tensor:
    """Denoising score matching (:cite:p:`Vincent11`) of every second sample, up to a constant.

    A sample is asked for at two opposite displacements, and the loss of either, ``|s(x + h z) + z / h|^2 / 2``, is
    taken without its ``|z / h|^2``: what is left has a gradient that does not blow up as h becomes small.
    """
    t, w, x, h, z = (part[::2] for part in (batch.t, batch.w, batch.on_path, batch.h, batch.z))
    apart = h[:, None] * z
    of_both = {} if batch.condition is None else {"condition": batch.condition[::2].repeat(2)}
    s, opposite = networks.score(torch.cat([t, t]), torch.cat([x + apart, x - apart]), **of_both).tensor_split(2)
    of_size = (s.square() + opposite.square()).mean(dim=1) / 4
    of_change = ((s - opposite) * z).mean(dim=1) / (2 * h)
    return (w * (of_size + of_change)).mean()
