"""What a fit will take, by its sizes and by a probe of this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from vgfm_sc.core import path
from vgfm_sc.core.cost.estimate import Cost, Pace, Problem, Sizes, estimated, operations
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.device import threads_for
from vgfm_sc.core.dynamics.flow import runge_kutta
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.threads import Share, differentiable, shared_by
from vgfm_sc.core.training import fitting, matching
from vgfm_sc.core.training.energy import energy_distance
from vgfm_sc.core.training.settings import Settings
from vgfm_sc.core.transport import entropic, growth, parts, sinkhorn
from vgfm_sc.core.transport.pairs import Pairs

SHORT = 2e10
"""Multiplications: a fit of fewer takes seconds, and is not measured."""

PROBED_CELLS = 500
"""Cells of either side on which a pass over pairs is timed."""

PROBED_STEPS = 4
"""Steps of matching that are timed."""


def sizes(cells: Sequence[Sequence[int]], n_dims: int, method: Any, settings: Settings, device: torch.device) -> Sizes:
    """Of a fit to ``cells``, of each course, by time point."""
    n_courses = len(cells)
    fitted, judged = (fitting.shared(n, n_courses) for n in (settings.fit_cells, fitting.CHECK_CELLS))
    networks = _networks(n_dims, settings, n_courses, torch.device("meta"))
    half, less = max(1, settings.width // 2), max(1, settings.depth - 1)
    couplings = [list(_couplings(of_course, method, device)) for of_course in cells]
    n_parts = max(problem.times for of_course in couplings for problem in of_course) // 2  # each is solved up to twice
    n_intervals = max(len(of_course) - 1 for of_course in cells)
    at_once = min(torch.get_num_threads(), max(n_intervals, n_parts)) if device.type == "cpu" else 1
    return Sizes(
        couplings,
        cells,
        n_dims,
        sum(parameter.numel() for parameter in networks.parameters()),
        2 * (settings.width * settings.depth + half * less) + 4 * n_dims,  # before and after each activation
        settings.match_steps,
        settings.match_size,
        settings.fit_steps,
        fitted,
        judged,
        entropic.BLOCK_PAIRS[_place(device)],
        sinkhorn.COARSE_CELLS,
        at_once,
    )


def _couplings(cells: Sequence[int], method: Any, device: torch.device) -> Iterator[Problem]:
    """What is solved for the couplings of one course, in their order."""
    solves = 2 if method.settings.get("drift_rho") is not None else 1
    if method.shared_growth:
        few = [min(n, growth.MOST_CELLS) for n in cells]
        yield from growth.ROUNDS * [Problem(solves, n, m) for n, m in zip(few[:-1], few[1:], strict=True)]
    for n, m in zip(cells[:-1], cells[1:], strict=True):
        n_parts = parts.number(n, m, entropic.most_pairs(n, m, _place(device)))
        cuts = parts.REDRAWS if n_parts > 1 else 1
        yield Problem(solves * n_parts * cuts, math.ceil(n / n_parts), math.ceil(m / n_parts))


def _place(device: torch.device) -> str:
    return "cpu" if device.type == "mps" else device.type  # which has no float64


def _networks(n_dims: int, settings: Settings, n_courses: int, device: torch.device) -> Networks:
    with device:
        return Networks(
            n_dims, settings.width, settings.depth, 2,
            None if device.type == "meta" else torch.Generator().manual_seed(0),
            with_score=settings.score, n_conditions=n_courses if n_courses > 1 else 0,
        )  # fmt: skip


def measured(of: Sizes, settings: Settings, device: torch.device, share: Share = map) -> Pace:
    """Seconds of a few operations of a fit, on cells of no meaning: a share of a second in all.

    The threads of ``share`` work as they would in the fit.
    """
    draw = torch.Generator().manual_seed(0)

    def some(n: int) -> torch.Tensor:
        return torch.randn(n, of.n_dims, generator=draw).to(device)

    def least(function: Callable[[], object]) -> float:
        """The shortest of a few runs after one that does not count."""
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            function()
            _wait(device)
            seconds.append(time.perf_counter() - began)
        return min(seconds[1:])

    networks = _networks(of.n_dims, settings, 1, torch.device("cpu")).to(device)
    exact = some(PROBED_CELLS).to("cpu" if device.type == "mps" else device).double()
    mass = torch.ones_like(exact[:, 0])
    pairs, nothing = Pairs(exact, exact, mass, mass, of.block), mass[:1]
    passed = least(lambda: pairs.target_potential(mass, 1.0))
    first, later = (some(min(n, of.fitted)) for n in of.cells[0][:2])
    log_m = torch.zeros_like(first[:, 0])

    def backward(outcome: torch.Tensor) -> None:
        outcome.sum().backward()

    def one_step(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return runge_kutta(networks.unsettled, x, torch.zeros_like(x[:, 0]), 0.0, 1.0, 1)

    def integrate() -> None:
        x, log_w = differentiable(one_step, fitting.parts_of(first), networks.parameters(), share)
        backward(x.sum(dim=1) + log_w)

    moved = first.clone().requires_grad_()
    apart = len(first) * len(later) + len(first) ** 2 + len(later) ** 2 / 3
    return Pace(
        least(lambda: [nothing.exp() for _ in range(100)]) / 100,
        passed / PROBED_CELLS**2,
        _match_step(networks, settings, some(settings.match_size), share),
        least(integrate) / len(first),
        least(lambda: backward(energy_distance(moved, log_m, later))) / apart,
    )


def _wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _match_step(networks: Networks, settings: Settings, x: torch.Tensor, share: Share) -> float:
    """The shortest of a few steps of matching."""
    n, seen = len(x), []

    def on_step() -> None:
        _wait(x.device)
        seen.append(time.perf_counter())

    plan = Coupling(csr_array(np.eye(n)), np.ones(n), True, 0, 0.0)
    interval = matching.Interval(plan, (x, x), (0.0, 1.0), path.straight, matching.Spread((0.1, 0.1), (0.1, 0.1)), None)
    draw = torch.Generator().manual_seed(0)
    matching.match(
        networks,
        [interval],
        size=n,
        n_steps=PROBED_STEPS,
        lr=settings.match_lr,
        generator=draw,
        on_step=on_step,
        share=share,
    )
    return min(after - before for before, after in zip(seen[:-1], seen[1:], strict=True))


def foreseen(
    cells: Sequence[Sequence[int]],
    n_dims: int,
    method: Any,
    settings: Settings,
    device: torch.device,
) -> Cost | None:
    """What one model will take; `None` where it is too little to be measured."""
    of = sizes(cells, n_dims, method, settings, device)
    if operations(of) < SHORT:
        return None
    with threads_for(settings.match_size * settings.width) as n_threads, shared_by(n_threads, device) as share:
        return estimated(of, measured(of, settings, device, share))
