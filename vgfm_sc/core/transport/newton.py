"""Newton's method on the semi-dual of entropic transport, over some entries of a plan."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.laplacians import System, Systems
from vgfm_sc.core.transport.support import Matrix

REACH = 100.0
"""Most that two potentials may move apart, in units of eps, before the entries are formed anew: their factors stay far
from the limits of float64."""

CG_ITERATIONS = 200
"""Conjugate-gradient cap per Newton step; an unfinished solve is still an ascent direction."""

ALIVE = 0.01
"""Share of its mass that a row must keep for its error to count by itself: the last of it is found by alternation."""

CAUTION = 0.3
"""Most by which curvature is raised, as a share: steps by the error itself once that is smaller."""


def ascend(
    matrix: Matrix,
    f: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    eps: float,
    rho: float,
    tol: float,
    max_iter: int,
    target_rho: float = np.inf,
    each: float = 0.0,
    max_steps: int = 100,
    systems: Systems | None = None,
) -> tuple[Tensor, int, bool]:
    """Maximise the semi-dual in ``f``, the target potential being optimal at every step.

    The plan changes only by row and column factors ``u_i K_ij v_j`` with ``K`` the entries given, so each
    product costs one pass over them. With ``v = (b / K'u)^q`` eliminated, ``q = target_rho / (target_rho + eps)``, the
    gradient is the row-marginal residual and the Hessian ``diag(.) - q P diag(1 / P'1) P' / eps`` is applied
    without being formed.

    Where a group of cells has the wrong mass and hardly exchanges any, Newton's method would move its potentials
    without limit, and shorten the step of all others for it. So the diagonal is raised by a share that falls with the
    error (Levenberg and Marquardt), which leaves convergence quadratic.

    Parameters
    ----------
    matrix
        Entries at the potential ``f``, shape ``(n, m)``; every column has at least one.
    f
        Source potential, float64, shape ``(n,)``.
    a, b
        Source mass and column sums of the entries, shapes ``(n,)`` and ``(m,)``.
    eps, rho, target_rho
        Entropic, source-marginal and target-marginal penalties, in units of the cost; inf makes a marginal exact.
    tol, each
        Stop when the L1 error of the row marginal, relative to the total mass, falls below ``tol``, and so does
        ``each`` times the relative error of the worst row.
    max_iter, max_steps
        Caps on products with the plan and on Newton steps.
    systems
        What was learnt about the systems of an ascent before this one.

    Returns
    -------
    The improved potential, the number of products with the plan and its transpose, and whether there is no more to
    gain: the error is below ``tol``, or rounding hides what is left.
    """
    plan, transpose = matrix
    systems = Systems() if systems is None else systems
    total, products, steps = float(b.sum()), 1, 0
    power = 1.0 if np.isinf(target_rho) else target_rho / (target_rho + eps)

    def factors(moved: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Row and column factors for a potential moved so far, column sums, and the semi-dual up to a constant."""
        common = moved.mean()  # a common shift may be too large for the exponential: it is left out of u, and so of v
        u = torch.exp((moved - common) / eps)
        sums = transpose @ u
        v, now = torch.where(b > 0, b / sums, 1.0), f + moved  # a column may be beyond what a float can hold
        source = a @ now if np.isinf(rho) else -rho * (a @ torch.expm1(-now / rho))
        if np.isinf(target_rho):
            return u, v, b, float(source + eps * (b @ torch.log(v)) - common * total)
        fall = (common - eps * torch.log(v)) / (target_rho + eps)  # of the target potential, over its penalty
        target = (target_rho + eps) * (b @ torch.expm1(fall))
        v = v * torch.exp(fall)
        return u, v, v * sums, float(source - target)

    moved = torch.zeros_like(f)
    u, v, column, value = factors(moved)
    while products < max_iter and steps < max_steps:
        row = u * (plan @ v)
        want = a * torch.exp(-(f + moved) / rho)
        residual = want - row
        products += 1
        error = float(residual.abs().sum()) / total
        if error < tol and each * worst(want, residual, a) < tol:
            return f + moved, products, True
        system = System(plan, transpose, u, v, (row + eps * want / rho) * (1 + min(CAUTION, error)), column / power)
        step, used = systems.solve(system, eps * residual, min(0.1, error**0.5), CG_ITERATIONS)
        products, steps = products + used, steps + 1
        apart = span(moved + step) / eps
        step = step * (REACH / apart) if apart > REACH else step
        slope = float(residual @ step)
        for _ in range(30):
            u_new, v_new, column_new, reached = factors(moved + step)
            products += 1
            # the increase Armijo asks for, less what rounding can hide
            if np.inf > reached >= value + 1e-4 * slope - 1e-13 * abs(value):
                break
            step, slope = step / 2, slope / 2
        else:
            return f + moved, products, True  # no ascent left at float64: the caller measures the error and says so
        moved, u, v, column, value = moved + step, u_new, v_new, column_new, reached
        if span(moved) > 0.5 * REACH * eps:
            break
    return f + moved, products, False


def worst(want: Tensor, residual: Tensor, a: Tensor) -> float:
    """Largest error of a row as a share of what it should hold, of those that keep a share of their mass ``a``."""
    return float(torch.where(want > ALIVE * a, residual.abs() / want, 0.0).max())


def span(values: Tensor) -> float:
    """How far the largest of ``values`` is from the smallest."""
    low, high = values.aminmax()
    return float(high - low)
