"""Distribution fitting: refine both networks by simulating and comparing with the snapshots."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import ot
import torch
from torch import Tensor

from vgfm_sc.core import flow
from vgfm_sc.core.metrics import EMD_ITERATIONS
from vgfm_sc.core.nets import Networks
from vgfm_sc.core.optim import Muon, move_towards

STEPS_PER_UNIT = 4
"""Runge-Kutta steps per mean interval: with fewer, the networks learn the integrator's error."""

AVERAGE = 0.9
"""Decay of the weight average that is judged."""

GRADIENT_NORM = 1.0
"""Longest gradient: a particle that leaves the data must not decide a step alone."""

CHECK_EVERY = 10
"""Steps between judgements of the average."""

CHECK_CELLS = 1500
"""Cells of each snapshot on which the average is judged."""

CHECK_TOL = 1e-4
"""Integration error when judging, as a share of the data's spread: with ten times as much, models are kept whose coarse
steps fit and whose flow does not."""


class Course(NamedTuple):
    """What is fitted to, or judged on.

    ``snapshots``: cells by time point, shapes ``(n_k, d)``. ``times``: their times. ``totals``: mass at each time
    point relative to the first. ``whole``: whether all cells of a time point are there. All unitless.
    """

    snapshots: Sequence[Tensor]
    times: Sequence[float]
    totals: Sequence[float]
    whole: Sequence[bool]

    def some(self, n: int, generator: torch.Generator) -> Course:
        """At most ``n`` cells of each snapshot, in random order: halves of them must be alike."""
        drawn = [x[torch.randperm(len(x), generator=generator)[:n].to(x.device)] for x in self.snapshots]
        whole = [w and len(x) <= n for w, x in zip(self.whole, self.snapshots, strict=True)]
        return self._replace(snapshots=drawn, whole=whole)

    def distance(self, k: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """How simulated cells are compared with snapshot ``k``."""
        return transport if self.whole[0] and self.whole[k] else debiased_transport


def fit(
    networks: Networks,
    course: Course,
    held_out: Course | None,
    *,
    n_steps: int,
    n_cells: int,
    lr: float,
    mass_weight: float,
    patience: int | None,
    generator: torch.Generator,
    on_step: Callable[[], None],
) -> tuple[Networks, dict[str, np.ndarray]]:
    """Minimise the optimal-transport distance to each snapshot plus the squared relative mass error.

    Each step simulates ``n_cells`` of the first snapshot through all times and compares with as many cells of each
    later one, so its cost does not depend on the size of the data (:cite:p:`Wang25`, eq. 14; the gradient reaches
    both networks here). Ends early when `score` has not improved for ``patience`` steps.

    Returns
    -------
    The best of the given networks and their refinements by `score` on ``held_out`` cells, or without them on some of
    ``course`` fixed beforehand: never a worse model than the one given. And the history: ``loss`` by step;
    ``check_step`` and ``score`` by judgement.
    """
    judged = (held_out or course).some(CHECK_CELLS, generator)
    best, best_score, best_step = copy.deepcopy(networks), score(networks, judged), 0
    history: dict[str, list[float]] = {"loss": [], "check_step": [0], "score": [best_score]}
    average, optimiser = copy.deepcopy(networks), Muon(networks, lr, n_steps)
    for k in range(n_steps):
        loss = distribution_loss(networks, course.some(n_cells, generator), mass_weight=mass_weight)
        loss.backward()
        if not torch.isfinite(loss):
            msg = f"The fitting loss is not finite at step {k}; the best model before it is kept. Lower fit_lr."
            warnings.warn(msg, RuntimeWarning, stacklevel=2)
            break
        torch.nn.utils.clip_grad_norm_(networks.parameters(), GRADIENT_NORM)
        optimiser.step()
        with torch.no_grad():
            decay = min(AVERAGE, (k + 1) / (k + 10))
            move_towards(average, networks, 1 - decay)
        history["loss"].append(loss.item())
        if (k + 1) % CHECK_EVERY == 0 or k + 1 == n_steps:
            reached = score(average, judged)
            history["check_step"].append(k + 1)
            history["score"].append(reached)
            if reached < best_score:
                best, best_score, best_step = copy.deepcopy(average), reached, k + 1
        on_step()
        if patience is not None and k + 1 - best_step >= max(patience, CHECK_EVERY):
            break
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
        distance = course.distance(k)(x, log_m, course.snapshots[k])
        loss = loss + distance + mass_weight * (ratio - 1).square()
    return loss


def transport(x: Tensor, log_m: Tensor, y: Tensor) -> Tensor:
    """Exact W1 between ``x`` with normalised masses and ``y`` with equal weights, differentiable in both.

    Positions get the gradient of the optimal plan held fixed, masses the dual potential (envelope theorem).
    """
    return _between(x, log_m, y, torch.zeros_like(y[:, 0]))


def _between(x: Tensor, log_m: Tensor, y: Tensor, log_m_y: Tensor) -> Tensor:
    p, q = torch.softmax(log_m, dim=0), torch.softmax(log_m_y, dim=0)
    weights = [part.detach().cpu().double().numpy() for part in (p, q)]
    weights = [part / part.sum() for part in weights]
    cost = torch.cdist(x.detach().cpu().double(), y.detach().cpu().double()).numpy()
    plan, log = ot.emd(*weights, cost, numItermax=EMD_ITERATIONS, log=True)
    potentials = [torch.as_tensor(log[n] - log[n] @ part).to(x) for n, part in zip("uv", weights, strict=True)]
    i, j = (torch.as_tensor(index, device=x.device) for index in plan.nonzero())
    distance = torch.linalg.vector_norm(x[i] - y[j], dim=1)
    moved = (torch.as_tensor(plan[plan > 0]).to(x) * distance).sum()
    return moved + (potentials[0] * (p - p.detach())).sum() + (potentials[1] * (q - q.detach())).sum()


def debiased_transport(x: Tensor, log_m: Tensor, y: Tensor) -> Tensor:
    """`transport` between samples of larger populations, less what sampling adds to it.

    Between samples, W1 is smallest for cells drawn together towards the centre, and learning from it shrinks every
    cluster. Each sample is cut in two halves; half the distance between the two halves of ``x`` and of ``y`` is
    subtracted from the mean distance of a half of ``x`` to one of ``y``, so that equal populations give 0 on average.
    """
    xs, log_ms, ys = (part.tensor_split(2) for part in (x, log_m, y))
    none = torch.zeros_like
    across = transport(xs[0], log_ms[0], ys[0]) + transport(xs[1], log_ms[1], ys[1])
    within = _between(xs[0], log_ms[0], xs[1], log_ms[1]) + transport(ys[0], none(ys[0][:, 0]), ys[1])
    return (across - within) / 2


@torch.no_grad()
def score(networks: Networks, course: Course) -> float:
    """Mean over later snapshots of W1, debiased between samples, as a share of the data's total spread.

    Total mass is made right afterwards, so it has no say.
    """
    x = course.snapshots[0]
    try:
        xs, log_ms = flow.integrate(networks, x, torch.zeros_like(x[:, 0]), course.times, tol=CHECK_TOL)
    except FloatingPointError:
        return float("inf")
    later = range(1, len(course.times))
    distances = [course.distance(k)(xs[k], log_ms[k], course.snapshots[k]).item() for k in later]
    return float(np.mean(distances)) / x.shape[1] ** 0.5
