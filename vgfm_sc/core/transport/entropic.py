"""Entropic couplings of two snapshots, in units and to tolerances that need no tuning: semi-relaxed and balanced."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Generator, Tensor

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.transport import drift, parts, sinkhorn
from vgfm_sc.core.transport.pairs import Pairs

MARGINAL_TOL = 1e-4
"""Share of the mass that may miss its marginal: a tenth of the relative mass error worth reporting."""

MAX_PRODUCTS = 10_000
"""Products with the plan before a coupling is called not converged; sound problems take some hundreds."""

MOST_PAIRS = {"cpu": 40_000_000, "cuda": 400_000_000}
"""Pairs up to which snapshots are coupled whole, some seconds' work; larger ones are coupled in `parts`."""

MOST_ENTRIES = 5_000_000
"""Entries that are kept of a plan: 12 bytes each, and 20 more while training draws from them."""

BLOCK_PAIRS = {"cpu": 500_000, "cuda": 50_000_000}
"""Pairs whose costs are held at once: 4 MB a copy, near a processor's cache; or what keeps a GPU busy."""


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
) -> Coupling:
    """Semi-relaxed entropic transport: target marginal exact, source marginal at a price (:cite:p:`Wang25`, eq. 9).

    The cost is the squared distance divided by its mean over two independent cells of the data (2 d in coordinates
    of unit variance), one number for all intervals, so that ``eps`` and ``rho`` have no unit. With ``drift_rho``,
    a plan with that penalty says how cells drift, and the distance is taken from where the drift carries them (see
    `drift`). Large snapshots are coupled in parts (see `parts`).
    """

    def couple(x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor) -> sinkhorn.Plan:
        if drift_rho is None:
            return _solved(x0, x1, mass0, mass1, generator, eps=eps, rho=rho)
        first = _solved(x0, x1, mass0, mass1, generator, eps=eps, rho=drift_rho)
        moved = drift.carried(x0, x1, first.entries)
        plan = _solved(moved, x1, mass0, mass1, generator, eps=eps, rho=rho)
        return plan._replace(
            converged=first.converged and plan.converged,
            n_iter=first.n_iter + plan.n_iter,
            marginal_error=float(np.max([first.marginal_error, plan.marginal_error])),
        )

    return _in_parts(couple, x0, x1, mass0, mass1, generator)


def bridged(
    x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor, generator: Generator, *, spread: float, rho: float
) -> Coupling:
    """The semi-relaxed plan of Brownian motion whose unitless standard deviation over the interval is ``spread``.

    Its density between two cells is ``exp(-|x - y|^2 / (2 spread^2))``, and the cost is ``|x - y|^2 / (2 d)``.
    """
    eps = spread**2 / x0.shape[1]
    return semi_relaxed(x0, x1, mass0, mass1, generator, eps=eps, rho=rho, drift_rho=None)


def balanced(x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor, generator: Generator, *, eps: float) -> Coupling:
    """Entropic transport with both marginals exact, the source first grown alike to the target's total."""

    def couple(x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor) -> sinkhorn.Plan:
        grown = mass0 * (mass1.sum() / mass0.sum())
        return _solved(x0, x1, grown, mass1, generator, eps=eps, rho=float("inf"))

    return _in_parts(couple, x0, x1, mass0, mass1, generator)


def _in_parts(
    couple: Callable[[Tensor, Tensor, Tensor, Tensor], sinkhorn.Plan],
    x0: Tensor,
    x1: Tensor,
    mass0: Tensor,
    mass1: Tensor,
    generator: Generator,
) -> Coupling:
    """What ``couple`` makes of float64 tensors, in one piece where they are small enough."""
    x0, x1, mass0, mass1 = _exact(x0, x1, mass0, mass1)
    most_pairs = MOST_PAIRS[x0.device.type]
    plan, answers = parts.coupled(
        couple, x0, x1, mass0, mass1, generator, most_pairs=most_pairs, most_entries=MOST_ENTRIES
    )
    return Coupling(
        plan,
        mass0.cpu().numpy(),
        converged=all(answer.converged for answer in answers),
        n_iter=max(answer.n_iter for answer in answers),
        marginal_error=float(np.max([answer.marginal_error for answer in answers])),  # NaN stays
        n_parts=len(answers),
    )


def _exact(*tensors: Tensor) -> list[Tensor]:
    """In float64, on the processor where the device has none."""
    return [(part.cpu() if part.device.type == "mps" else part).double() for part in tensors]


def _solved(
    x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor, generator: Generator, *, eps: float, rho: float
) -> sinkhorn.Plan:
    """Solve in units of the mean squared distance, to the tolerances of this file."""
    unit = (2 * x0.shape[1]) ** 0.5
    pairs = Pairs(x0 / unit, x1 / unit, mass0, mass1, BLOCK_PAIRS[x0.device.type])
    return sinkhorn.solve(pairs, eps=eps, rho=rho, tol=MARGINAL_TOL, max_iter=MAX_PRODUCTS, generator=generator)


def expected(mass0: np.ndarray, log_growth: np.ndarray) -> np.ndarray:
    """Masses in the ratios that cells of ``mass0`` would have after ``log_growth``, the total unchanged.

    The plan that takes them for its source differs from that of ``mass0`` by these ratios alone: a factor common to all
    cells drops out of the semi-relaxed problem, whose total is the target's.
    """
    grown = mass0 * np.exp(log_growth - log_growth.max())
    return grown * (mass0.sum() / grown.sum())
