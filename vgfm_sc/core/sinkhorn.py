"""Entropic semi-relaxed and balanced transport between two point clouds, without an n x m array.

Minimise over pi >= 0 with ``pi' 1 = b``::

    <C, pi> + eps KL(pi | a b') + rho KL(pi 1 | a),      C_ij = |x_i - y_j|^2

At the optimum ``pi_ij = a_i b_j exp((f_i + g_j - C_ij) / eps)`` and ``pi 1 = a exp(-f / rho)``. Plain alternation
over f and g needs thousands of passes at small eps. Here eps is lowered in stages on a subsample, and at the
final eps Newton's method runs on the entries that carry mass, which passes over all pairs then confirm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from vgfm_sc.core import newton

EPS_STEP = 0.25
"""Factor from one eps to the next: with a smaller one the potentials of a stage are no start for the next."""

COARSE_CELLS = 2000
"""Cells a side on which eps is lowered: potentials are smooth in space, so a subsample finds their shape."""

STAGE_TOL = 0.05
"""Marginal error asked of a stage and of the subsample: they give a start, not a solution."""

SHARE = 1e-9
"""An entry is stored when it holds more than this share of its row or of its column."""


class Plan(NamedTuple):
    """A solved coupling: ``entries`` is pi, shape ``(n, m)``; ``f`` and ``g`` its potentials, in units of the cost."""

    entries: csr_array
    f: np.ndarray
    g: np.ndarray
    converged: bool
    n_iter: int
    marginal_error: float


class TooManyEntriesError(Exception):
    """More entries carry mass than may be stored."""


def solve(
    x: Tensor,
    y: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    eps: float,
    rho: float,
    tol: float,
    max_iter: int,
    max_entries: int,
    block: int,
    generator: torch.Generator,
) -> Plan:
    """Couple ``x`` and ``y`` with ``pi' 1 = b`` exact and ``pi 1`` drawn towards ``a``.

    Parameters
    ----------
    x, y
        Points, float64, shapes ``(n, d)`` and ``(m, d)``, scaled so that the cost is their squared distance.
    a, b
        Positive masses, shapes ``(n,)`` and ``(m,)``.
    eps, rho
        Penalties in units of the cost; ``rho=inf`` is balanced transport and needs equal totals.
    tol
        Converged when the row marginal, measured over all pairs, misses ``a exp(-f / rho)`` by less than this
        share of the total mass. The column marginal is exact by construction.
    max_iter
        Cap on products with the plan.
    max_entries
        Most entries to store (24 bytes each while solving). A plan with more is solved by streamed alternation
        and returned thinned: unbiased, large entries exact, small ones kept by chance.
    block
        Pairs held at once.
    generator
        CPU generator, for the subsample and the thinning.
    """
    limits: dict[str, Any] = {"max_iter": max_iter, "max_entries": max_entries, "generator": generator}
    pairs = _Pairs(x, y, a, b, block)
    return _solve_from(_start(pairs, eps, rho, limits), pairs, eps, rho, tol, **limits)


def _start(pairs: _Pairs, eps: float, rho: float, limits: dict) -> Tensor:
    if max(pairs.shape) > COARSE_CELLS:
        coarse = pairs.subsample(COARSE_CELLS, limits["generator"])
        plan = _solve_from(_start(coarse, eps, rho, limits), coarse, eps, rho, STAGE_TOL, **limits)
        g = torch.as_tensor(plan.g, device=pairs.x.device)
        return _Pairs(pairs.x, coarse.y, pairs.a, coarse.b, pairs.block).source_potential(g, eps, rho)
    f, stage = torch.zeros_like(pairs.a), max(eps, pairs.mean_cost())
    while stage > eps:
        f = pairs.source_potential(pairs.target_potential(f, stage), stage, rho)
        f = torch.as_tensor(_solve_from(f, pairs, stage, rho, STAGE_TOL, **limits).f, device=f.device)
        stage *= EPS_STEP
    return pairs.source_potential(pairs.target_potential(f, eps), eps, rho)


def _solve_from(
    f: Tensor,
    pairs: _Pairs,
    eps: float,
    rho: float,
    tol: float,
    max_iter: int,
    max_entries: int,
    generator: torch.Generator,
) -> Plan:
    try:
        return _newton(pairs, f, eps, rho, tol, max_iter, max_entries)
    except TooManyEntriesError:
        return _alternate(pairs, f, eps, rho, tol, max_iter, max_entries, generator)


def _newton(pairs: _Pairs, f: Tensor, eps: float, rho: float, tol: float, max_iter: int, max_entries: int) -> Plan:
    a, b, used = pairs.a.cpu().numpy(), pairs.b.cpu().numpy(), 0
    while True:
        g = pairs.target_potential(f, eps)
        entries, row = pairs.entries(f, g, eps, lambda p, row: _drop_small(p, row, pairs.b), max_entries)
        f_host = f.cpu().numpy()
        error = float(np.abs(a * np.exp(-f_host / rho) - row).sum() / b.sum())
        if error < tol or used >= max_iter:
            return Plan(entries, f_host, g.cpu().numpy(), error < tol, used, error)
        f_host, products = newton.ascend(
            entries, f_host, a, b, eps=eps, rho=rho, tol=0.3 * tol, max_iter=max_iter - used
        )
        f, used = torch.as_tensor(f_host, device=f.device), used + products


def _alternate(
    pairs: _Pairs,
    f: Tensor,
    eps: float,
    rho: float,
    tol: float,
    max_iter: int,
    max_entries: int,
    generator: torch.Generator,
) -> Plan:
    total, error, used = pairs.b.sum(), np.inf, 0
    while True:
        if not np.isinf(rho):  # a shift of f is the slowest mode of alternation, and has a closed form
            f = f + rho * torch.log((pairs.a * torch.exp(-f / rho)).sum() / total)
        g = pairs.target_potential(f, eps)
        f_next = pairs.source_potential(g, eps, rho)
        used += 2
        # pi 1 at (f, g), from the update it called for
        damp = 1.0 if np.isinf(rho) else rho / (rho + eps)
        row = pairs.a * torch.exp((f - f_next / damp) / eps)
        error = float((pairs.a * torch.exp(-f / rho) - row).abs().sum() / total)
        if error < tol or used >= max_iter:
            break
        f = f_next
    per_row = max(1, max_entries // len(f))
    entries, _ = pairs.entries(f, g, eps, lambda p, row: _thin(p, row, per_row, generator), max_entries * 2)
    return Plan(entries, f.cpu().numpy(), g.cpu().numpy(), error < tol, used, error)


def _drop_small(p: Tensor, row: Tensor, b: Tensor) -> Tensor:
    return (p > SHARE * row[:, None]) | (p > SHARE * b)


def _thin(p: Tensor, row: Tensor, per_row: int, generator: torch.Generator) -> Tensor:
    """Raise small entries to ``row / per_row`` with the probability that keeps their mean; zero the others."""
    floor = row[:, None] / per_row
    chance = torch.rand(p.shape, generator=generator, dtype=p.dtype).to(p.device)
    small = p < floor
    p[small] = torch.where(chance < p / floor, floor, 0.0)[small]
    return p > 0


class _Pairs:
    """The costs between two clouds, by row blocks of about ``block`` pairs."""

    def __init__(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor, block: int):
        centre = (x.mean(0) + y.mean(0)) / 2  # |x|^2 + |y|^2 - 2 x.y loses least near the origin
        self.x, self.y, self.a, self.b, self.block = x - centre, y - centre, a, b, block
        self.shape = len(x), len(y)
        self._y2 = self.y.square().sum(1)

    def mean_cost(self) -> float:
        return float(self.x.square().sum(1).mean() + self._y2.mean() - 2 * self.x.mean(0) @ self.y.mean(0))

    def subsample(self, n: int, generator: torch.Generator) -> _Pairs:
        def some(points: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
            rows = torch.randperm(len(points), generator=generator)[:n].to(points.device)
            return points[rows], mass[rows] * (mass.sum() / mass[rows].sum())

        (x, a), (y, b) = some(self.x, self.a), some(self.y, self.b)
        return _Pairs(x, y, a, b, self.block)

    def _blocks(self):
        step = max(1, self.block // self.shape[1])
        for start in range(0, self.shape[0], step):
            rows = slice(start, start + step)
            x = self.x[rows]
            cost = torch.addmm(self._y2, x, self.y.T, alpha=-2).add_(x.square().sum(1)[:, None]).clamp_(min=0)
            yield rows, cost

    def source_potential(self, g: Tensor, eps: float, rho: float) -> Tensor:
        """The f that is optimal for ``g``, shape ``(n,)``."""
        damp = 1.0 if np.isinf(rho) else rho / (rho + eps)
        shift = g / eps + self.b.log()
        return torch.cat([cost.div_(-eps).add_(shift).logsumexp(1) for _, cost in self._blocks()]) * (-damp * eps)

    def target_potential(self, f: Tensor, eps: float) -> Tensor:
        """The g that makes the column marginal exact for ``f``, shape ``(m,)``."""
        shift = f / eps + self.a.log()
        top = torch.full_like(self.b, -torch.inf)
        total = torch.zeros_like(self.b)
        for rows, cost in self._blocks():
            z = cost.div_(-eps).add_(shift[rows, None])
            higher = torch.maximum(top, z.amax(0))
            total = total * torch.exp(top - higher) + z.sub_(higher).exp_().sum(0)
            top = higher
        return -eps * (top + total.log())

    def entries(
        self, f: Tensor, g: Tensor, eps: float, keep: Callable, max_entries: int
    ) -> tuple[csr_array, np.ndarray]:
        """The entries that ``keep(p, row)`` marks, and the row sums over all pairs."""
        source, target = f / eps + self.a.log(), g / eps + self.b.log()
        rows_, counts, columns, values, stored = [], [], [], [], 0
        for rows, cost in self._blocks():
            p = cost.div_(-eps).add_(target).add_(source[rows, None]).exp_()
            row = p.sum(1)
            kept = keep(p, row)
            stored += int(kept.sum())
            if stored > max_entries:
                raise TooManyEntriesError
            rows_.append(row)
            counts.append(kept.sum(1))
            columns.append(kept.nonzero()[:, 1].int())
            values.append(p[kept])
        pointers = np.concatenate([[0], np.cumsum(torch.cat(counts).cpu().numpy())]).astype(np.int32)
        csr = csr_array((torch.cat(values).cpu().numpy(), torch.cat(columns).cpu().numpy(), pointers), shape=self.shape)
        return csr, torch.cat(rows_).cpu().numpy()
