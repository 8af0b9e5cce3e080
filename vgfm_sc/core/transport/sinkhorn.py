"""Entropic transport between two point clouds, balanced or not, without an n x m array.

Minimise over pi >= 0::

    <C, pi> + eps KL(pi | a b') + rho KL(pi 1 | a) + target_rho KL(pi' 1 | b)

with the costs C of `Pairs`; an infinite penalty makes its marginal exact. At the optimum ``pi_ij = a_i b_j exp((f_i +
g_j - C_ij) / eps)``, ``pi 1 = a exp(-f / rho)`` and ``pi' 1 = b exp(-g / target_rho)``. Plain alternation over f and
g needs thousands of passes over all pairs at small eps. Here eps is lowered in stages, the first ones on a subsample,
and at each stage Newton's method runs on the pairs that carry mass; a pass over all pairs then confirms the solution,
or adds the pairs that were missed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from vgfm_sc.core.laplacians import Systems
from vgfm_sc.core.transport import newton
from vgfm_sc.core.transport.pairs import Pairs
from vgfm_sc.core.transport.support import AllPairs, Support, damped, exp_

EPS_STEP = 0.25
"""Factor from one eps to the next: with a smaller one the potentials of a stage are no start for the next."""

WHOLE_PAIRS = 1_000_000
"""Pairs up to which all of them are solved on: 8 MB, and the subsample has no more."""

COARSE_CELLS = 1000
"""Points a side on which eps is lowered: potentials are smooth in space, so a subsample finds their shape."""

DENSE_DIMS = 2
"""Up to so many dimensions the subsample is dense: its potentials at the last eps are a better start than those of all
at the one before, which cost as much as the solution. In three it is the other way round."""

STAGE_TOL = 0.01
"""Marginal error asked of a stage and of the subsample: they give a start, not a solution."""

STAGE_ROW = 0.5
"""Relative error of the worst row asked of a stage: outliers that were lost would be far off in the next."""

STAGE_EACH = STAGE_TOL / STAGE_ROW
"""Both in one number, `newton.ascend`'s."""

SHARE = 1e-9
"""A pair is stored when it holds more than this share of its row or of its column."""

STAGE_SHARE = 1e-5
"""The same before the last stage: at a quarter of the eps it is a share of 1e-20, more than the last stage asks for."""

SURE = 1e-3
"""Share of the tolerance within which columns may be off and one pass over all pairs do for two."""

STAGE_SURE = 0.1
"""The same before the last stage, whose errors are not reported."""

SETTLE_STEPS = 20
"""Newton steps before all pairs are looked at again: on too few pairs potentials run away."""

FAR = 20.0
"""Change of potentials, in units of eps, after which all pairs are looked at again: a pair with less than `SHARE` of
its row may then hold most of it."""


class Plan(NamedTuple):
    """A solved coupling: ``entries`` is pi, shape ``(n, m)``; ``f`` and ``g`` its potentials, in units of the cost."""

    entries: csr_array
    f: np.ndarray
    g: np.ndarray
    converged: bool
    n_iter: int
    marginal_error: float


def solve(
    pairs: Pairs,
    *,
    eps: float,
    rho: float,
    tol: float,
    max_iter: int,
    generator: torch.Generator,
    target_rho: float = np.inf,
) -> Plan:
    """Couple ``pairs`` with ``pi 1`` drawn towards ``a``, and ``pi' 1 = b`` unless ``target_rho`` is finite.

    Parameters
    ----------
    pairs
        Points and masses, float64, the points scaled to the unit of the cost.
    eps, rho, target_rho
        Penalties in units of the cost; both infinite is balanced transport and needs equal totals.
    tol
        Converged when the row marginal, measured over all pairs, misses ``a exp(-f / rho)`` by less than this
        share of the total mass. The column marginal is ``b exp(-g / target_rho)`` by construction.
    max_iter
        Cap on products with the plan.
    generator
        CPU generator, for the subsample.
    """
    solved = _solved(pairs, eps, (rho, target_rho), tol, max_iter, generator)
    f, g = solved.f.cpu().numpy(), solved.g.cpu().numpy()
    entries, error = solved.support.csr(solved.mass), solved.marginal_error
    return Plan(entries, f, g, error < tol, solved.n_iter, error)


class _Stage(NamedTuple):
    """Where a stage ends: potentials, the pairs that carry mass and their mass, and how well it was solved."""

    f: Tensor
    g: Tensor
    support: Support
    mass: Tensor
    n_iter: int
    marginal_error: float


def _solved(
    pairs: Pairs, eps: float, rhos: tuple[float, float], tol: float, max_iter: int, generator: torch.Generator
) -> _Stage:
    """The last of the stages from a large eps to ``eps``; ``rhos`` are the penalties of source and target."""
    used, few = 0, pairs.shape[0] * pairs.shape[1] <= WHOLE_PAIRS
    if max(pairs.shape) > COARSE_CELLS:
        stages = [eps / EPS_STEP] if few or pairs.x.shape[1] > DENSE_DIMS else []
        start = stages[0] if stages else eps
        coarse = pairs.subsample(COARSE_CELLS, generator)
        found = _solved(coarse, start, rhos, STAGE_TOL, max_iter, generator)
        used = found.n_iter
        to_coarse = Pairs(pairs.x, coarse.y + coarse.centre, pairs.a, coarse.b, pairs.block, price=pairs.price)
        f = to_coarse.source_potential(found.g, start, rhos[0])
    else:
        stages = []
        while (stages[0] if stages else eps) < pairs.mean_cost():
            stages.insert(0, (stages[0] if stages else eps) / EPS_STEP)
        first, f = (stages[0] if stages else eps), torch.zeros_like(pairs.a)
        f = pairs.source_potential(pairs.target_potential(f, first, rhos[1]), first, rhos[0])
    if few:
        everything = pairs.whole()
        for stage in stages:
            f, products, _ = _settled(pairs, f, everything, stage, rhos, 0.3 * STAGE_TOL, max_iter - used, STAGE_EACH)
            used += products
        reached = _stage(pairs, f, everything, eps, rhos, tol, SHARE, max_iter - used)
        return reached._replace(n_iter=used + reached.n_iter)
    support = None
    for stage in stages:
        reached = _stage(pairs, f, support, stage, rhos, STAGE_TOL, STAGE_SHARE, max_iter - used, STAGE_EACH)
        f, support, used = reached.f, reached.support, used + reached.n_iter
    reached = _stage(pairs, f, support, eps, rhos, tol, SHARE, max_iter - used)
    return reached._replace(n_iter=used + reached.n_iter)


def _stage(
    pairs: Pairs,
    f: Tensor,
    support: Support | AllPairs | None,
    eps: float,
    rhos: tuple[float, float],
    tol: float,
    share: float,
    max_iter: int,
    each: float = 0.0,
) -> _Stage:
    """Solve at ``eps`` from ``f``, on ``support`` and what it lacks; ``each`` as in `newton.ascend`."""
    used, done = 0, False
    while True:
        if support is not None:
            f, products, done = _settled(pairs, f, support, eps, rhos, 0.3 * tol, max_iter - used, each)
            used += products
        g, found, mass, row = _confirmed(pairs, f, support, eps, rhos[1], share, (STAGE_SURE if each else SURE) * tol)
        want = pairs.a * torch.exp(-f / rhos[0])
        error = float((want - row).abs().sum() / pairs.b.sum())
        met = error < tol and each * newton.worst(want, want - row, pairs.a) < tol
        if met or error != error or used >= max_iter:  # an error that is not a number ends it too
            return _Stage(f, g, found, mass, used, error)
        if isinstance(support, AllPairs):
            if done:
                return _Stage(f, g, found, mass, used, error)
            continue
        wider = found if support is None else support.joined(found)
        if done and support is not None and len(wider.cost) == len(support.cost):
            return _Stage(f, g, found, mass, used, error)
        support = wider


def _confirmed(
    pairs: Pairs,
    f: Tensor,
    support: Support | AllPairs | None,
    eps: float,
    target_rho: float,
    share: float,
    sure: float,
) -> tuple[Tensor, Support, Tensor, Tensor]:
    """The target potential over all pairs, and what `Pairs.entries` says of it.

    Two passes, or one where the potential on ``support`` alone is the same but for a share ``sure`` of the mass.
    """
    if support is not None:
        column = torch.zeros_like(pairs.b)
        near = support.target_potential(f, pairs.a, pairs.b, eps, target_rho)
        found, mass, row = pairs.entries(f, near, eps, share, column)
        g = -damped(eps, target_rho) * ((column / pairs.b).log() - near / eps)
        want = pairs.b if np.isinf(target_rho) else pairs.b * torch.exp(-near / target_rho)
        if float((column - want).abs().sum() / pairs.b.sum()) < sure:
            return g, found, mass * torch.exp((g - near) / eps)[found.columns], row
    g = pairs.target_potential(f, eps, target_rho)
    return g, *pairs.entries(f, g, eps, share)


def _settled(
    pairs: Pairs,
    f: Tensor,
    support: Support | AllPairs,
    eps: float,
    rhos: tuple[float, float],
    tol: float,
    max_iter: int,
    each: float,
) -> tuple[Tensor, int, bool]:
    """The potential that is optimal on ``support`` alone, the products with the plan it took, and whether it is.

    Newton's method sees rows by their mass. An alternation before and after it also does right by those with next to
    none, whose potential says how little it is.
    """
    a, b, used, done = pairs.a, pairs.b, 0, False
    rho, target_rho = rhos

    def alternated(f: Tensor) -> Tensor:
        return support.source_potential(f, support.target_potential(f, a, b, eps, target_rho), b, eps, rho)

    if not np.isinf(min(rho, target_rho)):  # a common shift is the slowest mode of alternation, and has a closed form
        arrived = (b.log() - support.target_potential(f, a, b, eps, target_rho) / target_rho).logsumexp(0)
        f = f + ((a.log() - f / rho).logsumexp(0) - arrived) / (1 / rho + 1 / (target_rho + eps))
    f = alternated(f)
    systems, start = Systems(), f
    while not done and used < max_iter and systems.solved < SETTLE_STEPS:
        if isinstance(support, Support) and newton.span(f - start) > FAR * eps:
            break
        g = support.target_potential(f, a, b, eps, target_rho)
        matrix = support.matrix(exp_(support.log_mass(f, g, a, b, eps)))
        column = b * torch.exp(-g / target_rho)
        left, steps = max_iter - used, SETTLE_STEPS - systems.solved
        penalties = {"eps": eps, "rho": rho, "target_rho": target_rho}
        f, products, done = newton.ascend(
            matrix, f, a, column, tol=tol, each=each, max_iter=left, max_steps=steps, systems=systems, **penalties
        )
        used += products
    return alternated(f), used, done
