"""Newton's method on the semi-dual of entropic transport, over the stored entries of a plan."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

REACH = 12.0
"""Most that two potentials may move apart, in units of eps, before the entries are taken anew: an entry left out
for its share of exp(-20) must not come to matter unseen."""

CG_ITERATIONS = 200
"""Conjugate-gradient cap per Newton step; an unfinished solve is still an ascent direction."""


def ascend(
    plan: csr_array, f: np.ndarray, a: np.ndarray, b: np.ndarray, *, eps: float, rho: float, tol: float, max_iter: int
) -> tuple[np.ndarray, int]:
    """Maximise the semi-dual in ``f``, the target marginal being exact at every step.

    The plan changes only by row and column factors ``u_i K_ij v_j`` with ``K`` the entries given, so each
    product costs one pass over the stored entries. With ``v = b / K'u`` eliminated, the gradient is the
    row-marginal residual and the Hessian ``diag(.) - P diag(1/b) P' / eps`` is applied without being formed.

    Parameters
    ----------
    plan
        Entries at the potential ``f``, shape ``(n, m)``; every row and column has at least one.
    f
        Source potential, shape ``(n,)``.
    a, b
        Source and target mass, shapes ``(n,)`` and ``(m,)``.
    eps, rho
        Entropic and source-marginal penalties, in units of the cost; ``rho=inf`` makes the source marginal exact.
    tol
        Stop when the L1 error of the row marginal, relative to the total mass, falls below this.
    max_iter
        Cap on products with the plan.

    Returns
    -------
    The improved potential, and the number of products with the plan and its transpose.
    """
    transposed = plan.T.tocsr()
    total, products = b.sum(), 1
    u, moved = np.ones_like(f), np.zeros_like(f)
    v = b / (transposed @ u)
    while products < max_iter:
        row = u * (plan @ v)
        want = a * np.exp(-(f + moved) / rho)
        residual = want - row
        products += 1
        error = np.abs(residual).sum() / total
        if error < tol:
            break
        diagonal = row / eps + want / rho

        def hessian(z: np.ndarray, u=u, v=v, diagonal=diagonal) -> np.ndarray:
            return diagonal * z - u * (plan @ (v * v / b * (transposed @ (u * z)))) / eps

        step, used = _conjugate_gradient(hessian, residual, 1 / diagonal, min(0.1, error**0.5))
        products += 2 * used
        apart = np.ptp(moved + step) / eps
        step *= min(1.0, REACH / apart) if apart > REACH else 1.0
        slope, value = residual @ step, _value(f + moved, v, a, b, eps, rho)
        for _ in range(30):
            u_new = np.exp((moved + step) / eps)
            v_new = b / (transposed @ u_new)
            products += 1
            # the increase Armijo asks for, less what rounding can hide
            if _value(f + moved + step, v_new, a, b, eps, rho) >= value + 1e-4 * slope - 1e-13 * abs(value):
                break
            step, slope = step / 2, slope / 2
        else:
            break  # no ascent left at float64: the caller measures the error and says so
        moved, u, v = moved + step, u_new, v_new
        if np.ptp(moved) > 0.5 * REACH * eps:
            break
    return f + moved, products


def _value(f: np.ndarray, v: np.ndarray, a: np.ndarray, b: np.ndarray, eps: float, rho: float) -> float:
    """Semi-dual up to a constant; as rho grows its first term tends to ``sum a f``."""
    source = a @ f if np.isinf(rho) else -rho * (a @ np.expm1(-f / rho))
    return source + eps * (b @ np.log(v))


def _conjugate_gradient(hessian, rhs: np.ndarray, inverse_diagonal: np.ndarray, rtol: float) -> tuple[np.ndarray, int]:
    solution, residual = np.zeros_like(rhs), rhs.copy()
    scaled = inverse_diagonal * residual
    direction, energy = scaled.copy(), residual @ scaled
    stop = rtol**2 * energy
    used = 0
    while used < CG_ITERATIONS:
        used += 1
        image = hessian(direction)
        curvature = direction @ image
        if curvature <= 0:  # the null direction of balanced transport, reached by rounding
            break
        length = energy / curvature
        solution += length * direction
        residual -= length * image
        scaled = inverse_diagonal * residual
        previous, energy = energy, residual @ scaled
        if energy <= stop:
            break
        direction = scaled + energy / previous * direction
    return solution, used
