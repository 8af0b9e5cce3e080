"""Newton's method on the semi-dual of entropic transport, over some entries of a plan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core.transport.support import Matrix

REACH = 100.0
"""Most that two potentials may move apart, in units of eps, before the entries are formed anew: their factors stay far
from the limits of float64."""

EMPTY = 1e-12
"""Curvature of a row without mass, as a share of the largest: nothing is to be divided by 0."""

CG_ITERATIONS = 200
"""Conjugate-gradient cap per Newton step; an unfinished solve is still an ascent direction."""


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
) -> tuple[Tensor, int, bool]:
    """Maximise the semi-dual in ``f``, the target potential being optimal at every step.

    The plan changes only by row and column factors ``u_i K_ij v_j`` with ``K`` the entries given, so each
    product costs one pass over them. With ``v = (b / K'u)^q`` eliminated, ``q = target_rho / (target_rho + eps)``, the
    gradient is the row-marginal residual and the Hessian ``diag(.) - q P diag(1 / P'1) P' / eps`` is applied
    without being formed.

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
    tol
        Stop when the L1 error of the row marginal, relative to the total mass, falls below this.
    max_iter
        Cap on products with the plan.

    Returns
    -------
    The improved potential, the number of products with the plan and its transpose, and whether there is no more to
    gain: the error is below ``tol``, or rounding hides what is left.
    """
    plan, transpose = matrix
    total, products = float(b.sum()), 1
    power = 1.0 if np.isinf(target_rho) else target_rho / (target_rho + eps)

    def factors(moved: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Row and column factors for a potential moved so far, column sums, and the semi-dual up to a constant."""
        common = moved.mean()  # a common shift may be too large for the exponential: it is left out of u, and so of v
        u = torch.exp((moved - common) / eps)
        sums = transpose @ u
        v, now = b / sums, f + moved
        source = a @ now if np.isinf(rho) else -rho * (a @ torch.expm1(-now / rho))
        if np.isinf(target_rho):
            return u, v, b, float(source + eps * (b @ torch.log(v)) - common * total)
        fall = (common - eps * torch.log(v)) / (target_rho + eps)  # of the target potential, over its penalty
        target = (target_rho + eps) * (b @ torch.expm1(fall))
        v = v * torch.exp(fall)
        return u, v, v * sums, float(source - target)

    moved = torch.zeros_like(f)
    u, v, column, value = factors(moved)
    while products < max_iter:
        row = u * (plan @ v)
        want = a * torch.exp(-(f + moved) / rho)
        residual = want - row
        products += 1
        error = float(residual.abs().sum()) / total
        if error < tol:
            return f + moved, products, True
        diagonal = row / eps + want / rho
        diagonal = diagonal.clamp(min=EMPTY * float(diagonal.max()))

        def hessian(z: Tensor, u=u, v=v, weight=power * v * v / column, diagonal=diagonal) -> Tensor:
            return diagonal * z - u * (plan @ (weight * (transpose @ (u * z)))) / eps

        step, used = _conjugate_gradient(hessian, residual, 1 / diagonal, min(0.1, error**0.5))
        products += 2 * used
        apart = _range(moved + step) / eps
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
        if _range(moved) > 0.5 * REACH * eps:
            break
    return f + moved, products, False


def _range(values: Tensor) -> float:
    low, high = values.aminmax()
    return float(high - low)


def _conjugate_gradient(
    hessian: Callable[[Tensor], Tensor], rhs: Tensor, inverse_diagonal: Tensor, rtol: float
) -> tuple[Tensor, int]:
    solution, residual = torch.zeros_like(rhs), rhs.clone()
    scaled = inverse_diagonal * residual
    direction, energy = scaled.clone(), float(residual @ scaled)
    stop = rtol**2 * energy
    used = 0
    while used < CG_ITERATIONS:
        used += 1
        image = hessian(direction)
        curvature = float(direction @ image)
        if curvature <= 0:  # the null direction of balanced transport, reached by rounding
            break
        length = energy / curvature
        solution += length * direction
        residual -= length * image
        scaled = inverse_diagonal * residual
        previous, energy = energy, float(residual @ scaled)
        if energy <= stop:
            break
        direction = scaled + energy / previous * direction
    return solution, used
