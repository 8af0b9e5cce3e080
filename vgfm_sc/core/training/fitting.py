"""Distribution fitting: refine both networks by simulating and comparing with the snapshots."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.dynamics import flow
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.threads import Share, differentiable
from vgfm_sc.core.training.checkpoint import NOWHERE, Underway
from vgfm_sc.core.training.energy import energy_distance
from vgfm_sc.core.training.optim import Average, Optimiser, state, take_up
from vgfm_sc.core.training.settings import Settings

STEP_ERROR = 0.001
"""Largest root-mean-square error of the Runge-Kutta steps of an interval, unitless: with more, the networks learn to
make it good, and their flow is another."""

ENOUGH_STEPS = 8
"""Runge-Kutta steps per mean interval that are enough, whatever the error."""

PROBE_CELLS = 256
"""Cells by which that error is measured, at most."""

AVERAGE = 0.9
"""Decay of the weight average that is judged."""

GRADIENT_NORM = 1.0
"""Longest gradient: a particle that leaves the data must not decide a step alone."""

CHECK_EVERY = 10
"""Steps between judgements of the average."""

CHECK_CELLS = 4000
"""Cells of each snapshot on which the average is judged."""

CHECK_TOL = 1e-4
"""Integration error when judging, as a share of the data's spread: with ten times as much, models are kept whose coarse
steps fit and whose flow does not."""

GAIN = 0.03
"""Share of the energy distance that counts as an improvement for `patience`: less is not worth the time it takes."""


NOTHING_LEFT = 7e-4
"""Energy distance, as a share of the data's spread, below which the networks as they are given may be left alone."""

OF_CHANCE = 0.25
"""What it must be of that between two draws of as many cells for that."""

SPREAD_KEPT = 0.03
"""How far variance along any axis may be from that of the cells for that: energy distance hardly sees it when a small
group shrinks along one of ten."""

KEPT = 0.3
"""Weight of the loss of matching. Without it, cells near a fork are moved from one branch to the other until the few
cells that are compared agree, and their fates become worse. With 1, groups move apart 2% too little."""

N_PARTS = 2
"""Parts of the cells that threads simulate side by side: smaller ones would mostly wait for Python."""

FEWEST = 128
"""Cells of a snapshot that are fitted to or judged on at least, however many conditions share them."""


Matched = Callable[[Networks, torch.Generator], Tensor]
"""The loss of matching, on pairs that the generator draws."""


class Sample(NamedTuple):
    """Cells that are fitted to, or judged on.

    ``snapshots``: cells by time point, shapes ``(n_k, d)``. ``times``: their times. ``totals``: mass at each time
    point relative to the first. ``n_start``: cells of the first snapshot that those at hand were drawn from. All
    unitless. ``condition``: which one the cells are of, where there are several.
    """

    snapshots: Sequence[Tensor]
    times: Sequence[float]
    totals: Sequence[float]
    n_start: int
    condition: int | None = None

    def field(self, networks: Networks) -> flow.Field:
        """What the cells follow."""
        return partial(networks.unsettled, condition=self.condition)

    def some(self, n: int, generator: torch.Generator) -> Sample:
        """``n`` cells of each snapshot, drawn at random, or all where there are no more."""

        def drawn(x: Tensor) -> Tensor:
            order = torch.randperm(len(x), generator=generator)
            return x[order[:n].to(x.device)] if len(x) > n else x

        return self._replace(snapshots=[drawn(x) for x in self.snapshots])


def fit(
    networks: Networks,
    samples: Sequence[Sample],
    held_out: Sequence[Sample] | None,
    settings: Settings,
    *,
    generator: torch.Generator,
    on_step: Callable[[], None],
    matched: Matched | None = None,
    underway: Underway = NOWHERE,
    share: Share = map,
) -> tuple[Networks, dict[str, np.ndarray]]:
    """Minimise the energy distance to each snapshot plus the squared relative mass error.

    Each step simulates ``fit_cells`` of the first snapshot through all times and compares with as many cells of each
    later one, so its cost does not depend on the size of the data (:cite:p:`Wang25`, eq. 14, with another distance; the
    gradient reaches both networks here). The loss that is ``matched`` is added, and keeps the networks near the paths.
    Of several conditions each has a sample and its share of the cells. Ends early when `score` has not improved by
    `GAIN` for ``patience`` steps, and before the first one where there is `enough` already; ``held_out`` cells judge
    every step instead. Goes on from what is found ``underway``. The threads of ``share`` simulate.

    Returns
    -------
    The best of the given networks and their refinements by `score` on ``held_out`` cells, or without them on some of
    ``samples`` fixed beforehand. And the history: ``loss`` by step, the last of them not finite if it ended there;
    ``check_step`` and ``score`` by judgement.
    """
    n_fitted, n_judged = (shared(n, len(samples)) for n in (settings.fit_cells, CHECK_CELLS))
    judged = [sample.some(n_judged, generator) for sample in held_out or samples]
    scores = [score(networks, sample) for sample in judged]
    best, best_score = copy.deepcopy(networks), float(np.mean(scores))
    history: dict[str, list[float]] = {"loss": [], "check_step": [0], "score": [best_score]}
    gained, gained_step = best_score, 0
    n_steps, patience = settings.fit_steps, settings.patience
    if held_out is None and all(enough(networks, *of_one) for of_one in zip(judged, scores, strict=True)):
        n_steps = 0
    average, optimiser = Average(networks), Optimiser(networks, settings.fit_lr, n_steps)
    first, found = 0, underway.found
    if found is not None:
        first = take_up(found, optimiser, average, generator)
        best.load_state_dict({name: torch.as_tensor(found[f"best.{name}"]) for name in best.state_dict()})
        best_score, gained, gained_step = float(found["best_score"]), float(found["gained"]), int(found["gained_step"])
        history = {name: found[f"history.{name}"].tolist() for name in history}
    for k in range(first, n_steps):
        if k % CHECK_EVERY == 0 and k > first:
            numbers = {"best_score": best_score, "gained": gained, "gained_step": gained_step}
            so_far = {f"history.{name}": values for name, values in history.items()}
            of_best = {f"best.{name}": weights for name, weights in best.state_dict().items()}
            underway.reached({**state(optimiser, average, generator), **numbers, **so_far, **of_best})
        if k % CHECK_EVERY == 0:
            counts = [step_counts(average.networks, sample) for sample in judged]
        drawn = [sample.some(n_fitted, generator) for sample in samples]
        losses = [
            distribution_loss(networks, *of_one, mass_weight=settings.mass_weight, share=share)
            for of_one in zip(drawn, counts, strict=True)
        ]
        loss = torch.stack(losses).mean()
        if not torch.isfinite(loss):
            history["loss"].append(loss.item())
            break
        kept = 0.0 if matched is None else KEPT * matched(networks, generator)
        (loss + kept).backward()
        torch.nn.utils.clip_grad_norm_(networks.parameters(), GRADIENT_NORM)
        optimiser.step()
        average.follow(optimiser.values, 1 - min(AVERAGE, (k + 1) / (k + 10)))
        history["loss"].append(loss.item())
        if (k + 1) % CHECK_EVERY == 0 or k + 1 == n_steps:
            reached = mean_score(average.networks, judged)
            history["check_step"].append(k + 1)
            history["score"].append(reached)
            if reached < best_score:
                best, best_score = copy.deepcopy(average.networks), reached
            if reached < (1 - GAIN) * gained:
                gained, gained_step = reached, k + 1
        on_step()
        if patience is not None and k + 1 - gained_step >= max(patience, CHECK_EVERY):
            break
    return best, {name: np.asarray(values) for name, values in history.items()}


def shared(n: int, n_conditions: int) -> int:
    """How many of ``n`` cells of a snapshot are those of each condition."""
    return max(min(n, FEWEST), n // n_conditions)


@torch.no_grad()
def step_counts(networks: Networks, sample: Sample) -> list[int]:
    """Runge-Kutta steps of each interval: the least power of two that brings their error to `STEP_ERROR`.

    Or about `ENOUGH_STEPS` per mean interval, where these do not. The error is estimated as the difference that twice
    as many steps make, in position along an axis or in log mass. A number in between, by the order of the method, is
    too small where steps are long: on dyngen fitting then begins with a step away from the data.
    """
    first, field = sample.snapshots[0], sample.field(networks)
    x = first[:: math.ceil(len(first) / PROBE_CELLS)]  # from all of it: cells may stand in some order
    log_m, counts = torch.zeros_like(x[:, 0]), []
    for start, stop in pairwise(sample.times):
        n, reached = 1, flow.runge_kutta(field, x, log_m, start, stop, 1)
        while n < ENOUGH_STEPS * max(1.0, stop - start):
            finer = flow.runge_kutta(field, x, log_m, start, stop, 2 * n)
            error = max(float((a - b).square().mean().sqrt()) for a, b in zip(reached, finer, strict=True))
            if error <= STEP_ERROR:
                break
            n, reached = 2 * n, finer
        counts.append(n)
        x, log_m = reached
    return counts


def distribution_loss(
    networks: Networks, sample: Sample, counts: Sequence[int], *, mass_weight: float, share: Share = map
) -> Tensor:
    """Sum over later snapshots of the energy distance and ``mass_weight`` times the squared relative mass error.

    ``counts``: Runge-Kutta steps of each interval. Parts of the cells are simulated by the threads of ``share``. NaN
    where the simulation leaves the finite numbers.
    """
    field, first = sample.field(networks), sample.snapshots[0]

    def simulated(x: Tensor) -> list[Tensor]:
        log_m, found = torch.zeros_like(x[:, 0]), []
        for n, (start, stop) in zip(counts, pairwise(sample.times), strict=True):
            x, log_m = flow.runge_kutta(field, x, log_m, start, stop, n)
            found += [x, log_m]
        return found

    found = differentiable(simulated, parts_of(first), networks.parameters(), share)
    loss = first.new_zeros(())
    for x, log_m, y, total in zip(found[::2], found[1::2], sample.snapshots[1:], sample.totals[1:], strict=True):
        loss = loss + energy_distance(x, log_m, y) + mass_weight * squared_mass_error(log_m, total, sample.n_start)
    return loss


def parts_of(x: Tensor) -> Sequence[Tensor]:
    """``x`` in parts for threads, as many however many threads there are: so no result depends on their number."""
    return x.tensor_split(N_PARTS if x.device.type == "cpu" else 1)


def squared_mass_error(log_m: Tensor, total: float, n_start: int) -> Tensor:
    """Squared relative error of the mean mass of ``n_start`` cells, estimated from ``log_m`` of some of them.

    The mean of a sample errs, and the square of it is too large by its variance: that is subtracted, so that the
    estimate is right on average over samples, whatever their size.
    """
    mass, n = log_m.exp() / total, len(log_m)
    chance = mass.var() / n * (1 - n / n_start) if n < n_start else 0.0
    return (mass.mean() - 1).square() - chance


@torch.no_grad()
def score(networks: Networks, sample: Sample) -> float:
    """Mean over later snapshots of the energy distance, as a share of the data's total spread.

    Total mass is made right afterwards, so it has no say.
    """
    x = sample.snapshots[0]
    try:
        field = sample.field(networks)
        xs, log_ms = flow.integrate(field, x, torch.zeros_like(x[:, 0]), sample.times, tol=CHECK_TOL)
    except FloatingPointError:
        return float("inf")
    found = [energy_distance(*of_time) for of_time in zip(xs[1:], log_ms[1:], sample.snapshots[1:], strict=True)]
    return float(torch.stack(found).mean()) / x.shape[1] ** 0.5


@torch.no_grad()
def enough(networks: Networks, sample: Sample, reached: float) -> bool:
    """Whether networks with the score ``reached`` meet ``sample`` so well that nothing is left to be fitted.

    On cells not shown fitting then changes nothing that can be seen, and takes longer than everything before it.
    """
    first, *later = sample.snapshots
    # the distance of two cells, as in a normal distribution of many axes, shared out among the cells of either draw
    chance = [(1 / len(first) + 1 / len(y)) * float((2 * y.var(dim=0).mean()).sqrt()) for y in later]
    if not reached < min(NOTHING_LEFT, OF_CHANCE * float(np.mean(chance))):
        return False
    xs, log_ms = flow.integrate(
        sample.field(networks), first, torch.zeros_like(first[:, 0]), sample.times, tol=CHECK_TOL
    )
    for x, log_m, y in zip(xs[1:], log_ms[1:], later, strict=True):
        p, variance = torch.softmax(log_m, dim=0), y.var(dim=0, correction=0)
        simulated = p @ (x - p @ x).square()
        if bool(((simulated - variance).abs() > SPREAD_KEPT * variance).any()):
            return False
    return True


def mean_score(networks: Networks, samples: Sequence[Sample]) -> float:
    """Mean of `score` over conditions."""
    return float(np.mean([score(networks, sample) for sample in samples]))
