"""Exact optimal transport between weighted cells, differentiable in positions and masses."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import ot
import torch
from torch import Tensor

from vgfm_sc.core.metrics import EMD_ITERATIONS


class Leg(NamedTuple):
    """``share`` of the distance from ``x``, with log masses ``log_m``, to ``y``, with ``log_m_y``."""

    share: float
    x: Tensor
    log_m: Tensor
    y: Tensor
    log_m_y: Tensor


def plain(x: Tensor, log_m: Tensor, y: Tensor) -> list[Leg]:
    """W1 between ``x`` with normalised masses and ``y`` with equal weights."""
    return [Leg(1.0, x, log_m, y, torch.zeros_like(y[:, 0]))]


def debiased(x: Tensor, log_m: Tensor, y: Tensor) -> list[Leg]:
    """`plain` between samples of larger populations, less what sampling adds to it.

    Between samples, W1 is smallest for cells drawn together towards the centre, and learning from it shrinks every
    cluster. Each sample is cut in two halves; half the distance between the two halves of ``x`` and of ``y`` is
    subtracted from the mean distance of a half of ``x`` to one of ``y``, so that equal populations give 0 on average.
    """
    (x0, x1), (m0, m1), (y0, y1) = (part.tensor_split(2) for part in (x, log_m, y))
    none0, none1 = torch.zeros_like(y0[:, 0]), torch.zeros_like(y1[:, 0])
    return [
        Leg(0.5, x0, m0, y0, none0),
        Leg(0.5, x1, m1, y1, none1),
        Leg(-0.5, x0, m0, x1, m1),
        Leg(-0.5, y0, none0, y1, none1),
    ]


def added(legs: Sequence[Leg]) -> Tensor:
    """What each leg adds to the sum of all, exact, shape ``(len(legs),)``.

    Positions get the gradient of the optimal plan held fixed, masses the dual potential (envelope theorem). The plans
    are found side by side, in as many threads as torch uses.
    """
    problems = [_problem(leg) for leg in legs]
    with ThreadPoolExecutor(max(1, min(torch.get_num_threads(), len(legs)))) as pool:
        solved = list(pool.map(_solve, problems))  # POT lets go of the interpreter's lock
    return torch.stack([leg.share * _distance(leg, *parts) for leg, parts in zip(legs, solved, strict=True)])


def _problem(leg: Leg) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weights = [torch.softmax(log_m.detach().double(), dim=0).cpu().numpy() for log_m in (leg.log_m, leg.log_m_y)]
    p, q = (part / part.sum() for part in weights)
    return p, q, torch.cdist(leg.x.detach().cpu().double(), leg.y.detach().cpu().double()).numpy()


def _solve(problem: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p, q, cost = problem
    plan, log = ot.emd(p, q, cost, numItermax=EMD_ITERATIONS, log=True)
    return plan, log["u"] - log["u"] @ p, log["v"] - log["v"] @ q


def _distance(leg: Leg, plan: np.ndarray, u: np.ndarray, v: np.ndarray) -> Tensor:
    x, y = leg.x, leg.y
    i, j = (torch.as_tensor(index, device=x.device) for index in plan.nonzero())
    moved = (torch.as_tensor(plan[plan > 0]).to(x) * torch.linalg.vector_norm(x[i] - y[j], dim=1)).sum()
    for potential, log_m in ((u, leg.log_m), (v, leg.log_m_y)):
        mass = torch.softmax(log_m, dim=0)
        moved = moved + (torch.as_tensor(potential).to(x) * (mass - mass.detach())).sum()
    return moved
