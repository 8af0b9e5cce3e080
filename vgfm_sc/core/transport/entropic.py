"""Entropic couplings of two snapshots, in units and to tolerances that need no tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.transport import drift, parts, sinkhorn
from vgfm_sc.core.transport.pairs import NEAR_RIGHT, Pairs, fisher_rao

MARGINAL_TOL = 1e-4
"""Share of the mass that may miss its marginal: a tenth of the relative mass error worth reporting."""

MAX_PRODUCTS = 10_000
"""Products with the plan before a coupling is called not converged; sound problems take some hundreds."""

MOST_PAIRS = {"cpu": 40_000_000, "cuda": 400_000_000}
"""Pairs up to which snapshots are coupled whole, some seconds' work; larger ones are coupled in `parts`."""

PART_PAIRS = {"cpu": 10_000_000, "cuda": 400_000_000}
"""Pairs of a part: as many as the smallest snapshots that are cut have in theirs. Larger parts take longer, and smaller
ones change the growth of a group by more (docs/benchmarks/coupling.md, Coupling in parts)."""

MOST_ENTRIES = 5_000_000
"""Entries that are kept of a plan: 12 bytes each, and 20 more while training draws from them."""

BLOCK_PAIRS = {"cpu": 500_000, "cuda": 50_000_000}
"""Pairs whose costs are held at once: 4 MB a copy, near a processor's cache; or what keeps a GPU busy."""

BEYOND = 100.0
"""Cost of a pair out of reach above that of one just within, in units of eps: it has no mass to speak of."""

Clones = tuple[np.ndarray, np.ndarray] | None
"""Clone of each cell of both snapshots, shapes ``(n,)`` and ``(m,)``, -1 in cells without one."""


def semi_relaxed(
    x0: Tensor,
    x1: Tensor,
    mass0: Tensor,
    mass1: Tensor,
    generator: Generator,
    *,
    eps: float,
    rho: float,
    drift_rho: float | None,
    rho_factor: float = 1.0,
    clones: Clones = None,
) -> Coupling:
    """Semi-relaxed entropic transport: target marginal exact, source marginal at a price (:cite:p:`Wang25`, eq. 9).

    The cost is the squared distance divided by its mean over two independent cells of the data (2 d in coordinates
    of unit variance), one number for all intervals, so that ``eps`` and ``rho`` have no unit. With ``drift_rho``,
    a plan with that penalty says how cells drift, and the distance is taken from where the drift carries them (see
    `drift`). The penalty of the plan proper is ``rho`` times ``rho_factor``. Where ``clones`` are known, they change
    what pairs cost (see `clones`). Large snapshots are coupled in parts (see `parts`).
    """
    couple = partial(_drifted, eps=eps, rho=rho * rho_factor, drift_rho=drift_rho)
    coupling = _in_parts(couple, _Cells.exact(x0, x1, mass0, mass1, clones), generator)
    return replace(coupling, rho_factor=rho_factor)


def _drifted(cells: _Cells, generator: Generator, *, eps: float, rho: float, drift_rho: float | None) -> sinkhorn.Plan:
    """The plan of cells from where they drift to, or with no ``drift_rho`` from where they stand."""
    if drift_rho is None:
        return _solved(cells, generator, eps=eps, rho=rho)
    first = _solved(cells, generator, eps=eps, rho=drift_rho)
    moved = drift.carried(cells.x0, cells.x1, first.entries)
    plan = _solved(cells._replace(x0=moved), generator, eps=eps, rho=rho)
    return plan._replace(
        converged=first.converged and plan.converged,
        n_iter=first.n_iter + plan.n_iter,
        marginal_error=float(np.max([first.marginal_error, plan.marginal_error])),
    )


def bridged(
    x0: Tensor,
    x1: Tensor,
    mass0: Tensor,
    mass1: Tensor,
    generator: Generator,
    *,
    spread: float,
    rho: float,
    clones: Clones = None,
) -> Coupling:
    """The semi-relaxed plan of Brownian motion whose unitless standard deviation over the interval is ``spread``.

    Its density between two cells is ``exp(-|x - y|^2 / (2 spread^2))``, and the cost is ``|x - y|^2 / (2 d)``.
    """
    eps = spread**2 / x0.shape[1]
    return semi_relaxed(x0, x1, mass0, mass1, generator, eps=eps, rho=rho, drift_rho=None, clones=clones)


def balanced(
    x0: Tensor,
    x1: Tensor,
    mass0: Tensor,
    mass1: Tensor,
    generator: Generator,
    *,
    eps: float,
    clones: Clones = None,
) -> Coupling:
    """Entropic transport with both marginals exact, the source first grown alike to the target's total."""
    return _in_parts(partial(_exact, eps=eps), _Cells.exact(x0, x1, mass0, mass1, clones), generator)


def _exact(cells: _Cells, generator: Generator, *, eps: float) -> sinkhorn.Plan:
    """The plan with both marginals exact."""
    grown = cells.mass0 * (cells.mass1.sum() / cells.mass0.sum())
    return _solved(cells._replace(mass0=grown), generator, eps=eps, rho=float("inf"))


def wasserstein_fisher_rao(
    x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor, generator: Generator, *, delta: float, eps: float
) -> Coupling:
    """Wasserstein-Fisher-Rao transport as optimal entropy transport (:cite:p:`Liero18`), both marginals at a price.

    A plan at the cost ``-8 delta^2 log cos(D / (2 delta))`` whose marginals cost ``4 delta^2`` says between which cells
    mass travels. With its rows scaled to ``mass0`` it is what leaves, with its columns to ``mass1`` what arrives:
    the two semi-couplings. ``delta`` is a share of the root mean squared distance of two independent cells of the data,
    ``eps`` of its square.

    Raises
    ------
    ValueError
        A cell has no cell of the other snapshot within pi ``delta``.
    """
    cells = _Cells.exact(x0, x1, mass0, mass1, None)
    exchanged = _in_parts(partial(_exchanged, delta=delta, eps=eps), cells, generator)
    return exchanged.grown(np.log(cells.mass1.cpu().numpy() / exchanged.plan.sum(axis=0)))


def _exchanged(cells: _Cells, generator: Generator, *, delta: float, eps: float) -> sinkhorn.Plan:
    """The plan of optimal entropy transport."""
    _check_reach(cells, delta)
    price = partial(fisher_rao, delta=delta, beyond=BEYOND * eps)
    whole = (cells.mass0.sum() * cells.mass1.sum()).sqrt()  # entropy is relative to masses of no unit
    unitless = cells._replace(mass0=cells.mass0 / whole, mass1=cells.mass1 / whole)
    plan = _solved(unitless, generator, eps=eps, rho=4 * delta**2, target_rho=4 * delta**2, price=price)
    return plan._replace(entries=plan.entries * float(whole))


def _check_reach(cells: _Cells, delta: float) -> None:
    """Refuse a ``delta`` that leaves a cell without any to exchange mass with."""
    nearest = [squared.sqrt() for squared in _pairs(cells).nearest()]
    within = delta * (np.pi - 2 * NEAR_RIGHT)
    alone = [int((distance >= within).sum()) for distance in nearest]
    if not any(alone):
        return
    least = float(torch.cat(nearest).max()) / (np.pi - 2 * NEAR_RIGHT)
    msg = (
        f"delta={delta:g} is too small: {alone[0]} of {len(cells.x0)} earlier and {alone[1]} of {len(cells.x1)} later "
        "cells of an interval have no cell of the other time within pi * delta times the root mean squared distance of "
        f"two cells. Raise delta above {least:.3g}, or drop these cells if they are outliers."
    )
    raise ValueError(msg)


class _Cells(NamedTuple):
    """Both snapshots in float64, on the processor where the device has none."""

    x0: Tensor
    x1: Tensor
    mass0: Tensor
    mass1: Tensor
    clones: tuple[Tensor, Tensor] | None

    @classmethod
    def exact(cls, x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor, clones: Clones) -> _Cells:
        given = (x0, x1, mass0, mass1)
        x0, x1, mass0, mass1 = ((t.cpu() if t.device.type == "mps" else t).double() for t in given)
        if clones is None:
            return cls(x0, x1, mass0, mass1, None)
        first, second = (torch.as_tensor(codes, device=x0.device) for codes in clones)
        return cls(x0, x1, mass0, mass1, (first, second))

    def arrays(self, i: Tensor, j: Tensor) -> tuple[Tensor | np.ndarray, ...]:
        """Rows ``i`` and columns ``j`` for `of_arrays`. On a processor they are arrays, which go between processes."""
        pairs = [(self.x0, self.x1), (self.mass0, self.mass1), *([] if self.clones is None else [self.clones])]
        own = [t for first, second in pairs for t in (first[i], second[j])]
        return tuple(t.numpy() if t.device.type == "cpu" else t for t in own)

    @classmethod
    def of_arrays(cls, *arrays: Tensor | np.ndarray) -> _Cells:
        """The cells of which `arrays` made these."""
        x0, x1, mass0, mass1, *clones = (t if isinstance(t, Tensor) else torch.tensor(t) for t in arrays)
        return cls(x0, x1, mass0, mass1, (clones[0], clones[1]) if clones else None)


def most_pairs(n: int, m: int, place: str) -> int:
    """Pairs that are coupled at once of snapshots of ``n`` and ``m`` cells: all, or those of a part."""
    return MOST_PAIRS[place] if n * m <= MOST_PAIRS[place] else min(MOST_PAIRS[place], PART_PAIRS[place])


def _in_parts(couple: Callable[[_Cells, Generator], sinkhorn.Plan], cells: _Cells, generator: Generator) -> Coupling:
    """What ``couple`` makes of ``cells``, in one piece where they are small enough."""
    plan, answers = parts.coupled(
        partial(_of_arrays, couple),
        cells.arrays,
        cells.x0,
        cells.x1,
        cells.clones,
        generator,
        most_pairs=most_pairs(len(cells.x0), len(cells.x1), cells.x0.device.type),
        most_entries=MOST_ENTRIES,
    )
    return Coupling(
        plan,
        cells.mass0.cpu().numpy(),
        converged=all(answer.converged for answer in answers),
        n_iter=max(answer.n_iter for answer in answers),
        marginal_error=float(np.max([answer.marginal_error for answer in answers])),  # NaN stays
        n_parts=len(answers),
    )


def _of_arrays(
    couple: Callable[[_Cells, Generator], sinkhorn.Plan], generator: Generator, *arrays: Any
) -> sinkhorn.Plan:
    return couple(_Cells.of_arrays(*arrays), generator)


def _solved(
    cells: _Cells,
    generator: Generator,
    *,
    eps: float,
    rho: float,
    target_rho: float = np.inf,
    price: Callable[[Tensor], Tensor] | None = None,
) -> sinkhorn.Plan:
    """Solve in units of the mean squared distance, to the tolerances of this file."""
    penalties = {"eps": eps, "rho": rho, "target_rho": target_rho}
    pairs = _pairs(cells, price)
    return sinkhorn.solve(pairs, tol=MARGINAL_TOL, max_iter=MAX_PRODUCTS, generator=generator, **penalties)


def _pairs(cells: _Cells, price: Callable[[Tensor], Tensor] | None = None) -> Pairs:
    """Pairs whose squared distance is a share of the mean one."""
    unit, block = (2 * cells.x0.shape[1]) ** 0.5, BLOCK_PAIRS[cells.x0.device.type]
    return Pairs(cells.x0 / unit, cells.x1 / unit, cells.mass0, cells.mass1, block, cells.clones, price)


def expected(mass0: np.ndarray, log_growth: np.ndarray) -> np.ndarray:
    """Masses in the ratios that cells of ``mass0`` would have after ``log_growth``, the total unchanged.

    The plan that takes them for its source differs from that of ``mass0`` by these ratios alone: a factor common to all
    cells drops out of the semi-relaxed problem, whose total is the target's.
    """
    grown = mass0 * np.exp(log_growth - log_growth.max())
    return grown * (mass0.sum() / grown.sum())
