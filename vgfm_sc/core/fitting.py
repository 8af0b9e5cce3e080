"""Distribution fitting: refine both networks by simulating and comparing with the snapshots."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import ot
import torch
from torch import Tensor

from vgfm_sc.core import flow
from vgfm_sc.core.metrics import EMD_ITERATIONS
from vgfm_sc.core.nets import Networks
from vgfm_sc.core.optim import Muon

STEPS_PER_UNIT = 4
"""Runge-Kutta steps per mean interval: with fewer, the networks learn the integrator's error."""

AVERAGE = 0.9
"""Decay of the weight average that is judged."""

GRADIENT_NORM = 1.0
"""Longest gradient: a particle that leaves the data must not decide a step alone."""

CHECK_EVERY = 10
"""Steps between judgements of the average."""

CHECK_CELLS = 1000
"""Cells a side on which the average is judged."""

CHECK_TOL = 1e-3
"""Integration error when judging, as a share of the data's spread: far below any W1 of samples."""


class Course(NamedTuple):
    """What is fitted to.

    ``snapshots``: cells by time point, shapes ``(n_k, d)``. ``times``: their times. ``totals``: mass at each time
    point relative to the first. All unitless.
    """

    snapshots: Sequence[Tensor]
    times: Sequence[float]
    totals: Sequence[float]


def fit(
    networks: Networks,
    course: Course,
    *,
    n_steps: int,
    n_cells: int,
    lr: float,
    mass_weight: float,
    generator: torch.Generator,
    on_step: Callable[[], None],
) -> tuple[Networks, dict[str, np.ndarray]]:
    """Minimise the optimal-transport distance to each snapshot plus the squared relative mass error.

    Each step simulates ``n_cells`` of the first snapshot through all times and compares with as many cells of each
    later one, so its cost does not depend on the size of the data (:cite:p:`Wang25`, eq. 14; the gradient reaches
    both networks here).

    Returns
    -------
    The best of the given networks and their refinements by `score` on cells fixed beforehand: never a worse model
    than the one given. And the history: ``loss`` by step; ``check_step`` and ``score`` by judgement.
    """
    judged = Course([_some(x, CHECK_CELLS, generator) for x in course.snapshots], course.times, course.totals)
    best, best_score = copy.deepcopy(networks), score(networks, judged)
    history = {"loss": [], "check_step": [0], "score": [best_score]}
    average, optimiser = copy.deepcopy(networks), Muon(networks, lr, n_steps)
    for k in range(n_steps):
        batch = Course([_some(x, n_cells, generator) for x in course.snapshots], course.times, course.totals)
        loss = distribution_loss(networks, batch, mass_weight=mass_weight)
        loss.backward()
        if not torch.isfinite(loss):
            break  # the best so far stands; the history shows where it broke
        torch.nn.utils.clip_grad_norm_(networks.parameters(), GRADIENT_NORM)
        optimiser.step()
        with torch.no_grad():
            decay = min(AVERAGE, (k + 1) / (k + 10))
            torch._foreach_lerp_(list(average.parameters()), list(networks.parameters()), 1 - decay)
        history["loss"].append(loss.item())
        if (k + 1) % CHECK_EVERY == 0 or k + 1 == n_steps:
            reached = score(average, judged)
            history["check_step"].append(k + 1)
            history["score"].append(reached)
            if reached < best_score:
                best, best_score = copy.deepcopy(average), reached
        on_step()
    return best, {name: np.asarray(values) for name, values in history.items()}


def distribution_loss(networks: Networks, course: Course, *, mass_weight: float) -> Tensor:
    """Sum over later snapshots of W1 to the simulated cells and ``mass_weight`` times squared relative mass error."""
    x = course.snapshots[0]
    log_m = torch.zeros_like(x[:, 0])
    loss = x.new_zeros(())
    for k in range(1, len(course.times)):
        start, stop = course.times[k - 1], course.times[k]
        n = max(1, round(STEPS_PER_UNIT * (stop - start)))
        x, log_m = flow.runge_kutta(networks, x, log_m, start, stop, n)
        ratio = log_m.exp().mean() / course.totals[k]
        loss = loss + transport(x, log_m, course.snapshots[k]) + mass_weight * (ratio - 1).square()
    return loss


def transport(x: Tensor, log_m: Tensor, y: Tensor) -> Tensor:
    """Exact W1 between ``x`` with normalised masses and ``y`` with equal weights, differentiable in both.

    Positions get the gradient of the optimal plan held fixed, masses the dual potential (envelope theorem).
    """
    p = torch.softmax(log_m, dim=0)
    weights = p.detach().double().cpu().numpy()
    weights = weights / weights.sum()
    cost = torch.cdist(x.detach().double(), y.double()).cpu().numpy()
    plan, log = ot.emd(weights, np.full(len(y), 1 / len(y)), cost, numItermax=EMD_ITERATIONS, log=True)
    potential = torch.as_tensor(log["u"] - log["u"] @ weights).to(x)
    i, j = (torch.as_tensor(index, device=x.device) for index in plan.nonzero())
    distance = torch.linalg.vector_norm(x[i] - y[j], dim=1)
    moved = (torch.as_tensor(plan[plan > 0]).to(x) * distance).sum()
    return moved + (potential * (p - p.detach())).sum()


@torch.no_grad()
def score(networks: Networks, course: Course) -> float:
    """Mean over later snapshots of W1, as a share of the data's total spread, plus the relative mass error."""
    x = course.snapshots[0]
    try:
        xs, log_ms = flow.integrate(networks, x, torch.zeros_like(x[:, 0]), course.times, tol=CHECK_TOL)
    except FloatingPointError:
        return float("inf")
    errors = []
    for k in range(1, len(course.times)):
        w1 = transport(xs[k], log_ms[k], course.snapshots[k]).item() / x.shape[1] ** 0.5
        errors.append(w1 + abs(log_ms[k].exp().mean().item() / course.totals[k] - 1))
    return float(np.mean(errors))


def _some(x: Tensor, n: int, generator: torch.Generator) -> Tensor:
    if len(x) <= n:
        return x
    return x[torch.randperm(len(x), generator=generator)[:n].to(x.device)]
