"""Exact optimal transport between weighted cells, differentiable in positions and masses."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import ot
import torch
from scipy.sparse import csr_array
from torch import Tensor

EMD_ITERATIONS = 10_000_000
"""The network simplex needs more pivots than POT's default for some thousand cells."""


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
    return torch.stack([leg.share * _with_gradient(leg, *parts) for leg, parts in zip(legs, solved, strict=True)])


class _Problem(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    q: np.ndarray
    cost: np.ndarray


class _Solved(NamedTuple):
    """The distance, and its gradients in both clouds' positions and masses."""

    distance: float
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    q: np.ndarray


def _problem(leg: Leg) -> _Problem:
    x, y = (part.detach().cpu().double() for part in (leg.x, leg.y))
    weights = [torch.softmax(log_m.detach().cpu().double(), dim=0).numpy() for log_m in (leg.log_m, leg.log_m_y)]
    p, q = (part / part.sum() for part in weights)
    return _Problem(x.numpy(), y.numpy(), p, q, torch.cdist(x, y).numpy())


def _solve(problem: _Problem) -> _Solved:
    x, y, p, q, cost = problem
    plan, log = ot.emd(p, q, cost, numItermax=EMD_ITERATIONS, log=True)
    i, j = plan.nonzero()
    moved = plan[i, j]
    # cells at one point have no direction to each other
    pull = np.divide(moved, cost[i, j], out=np.zeros_like(moved), where=cost[i, j] > 0)
    pulls = csr_array((pull, (i, j)), shape=plan.shape)
    to_y = pulls.sum(axis=1)[:, None] * x - pulls @ y
    to_x = pulls.sum(axis=0)[:, None] * y - pulls.T @ x
    return _Solved(float(moved @ cost[i, j]), to_y, to_x, log["u"] - log["u"] @ p, log["v"] - log["v"] @ q)


def _with_gradient(leg: Leg, distance: float, *gradients: np.ndarray) -> Tensor:
    """``distance``, with its gradients in what ``leg`` is made of."""
    parts = leg.x, leg.y, torch.softmax(leg.log_m, dim=0), torch.softmax(leg.log_m_y, dim=0)
    value = leg.x.new_tensor(distance)
    for part, gradient in zip(parts, gradients, strict=True):
        if part.requires_grad:
            value = value + (torch.as_tensor(gradient).to(part) * (part - part.detach())).sum()
    return value
