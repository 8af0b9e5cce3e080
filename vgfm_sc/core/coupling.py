"""Which cell becomes which, and with how much mass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csr_array, issparse
from torch import Tensor

from vgfm_sc.core import chunks, drift, sinkhorn

MARGINAL_TOL = 1e-4
"""Share of the mass that may miss its marginal: a tenth of the relative mass error worth reporting."""

MAX_PRODUCTS = 10_000
"""Products with the plan before a coupling is called not converged; sound problems take some hundreds."""

MOST_PAIRS = {"cpu": 40_000_000, "cuda": 400_000_000}
"""Pairs up to which snapshots are coupled whole, some seconds' work; larger ones are coupled in parts, see `chunks`."""

MOST_ENTRIES = 5_000_000
"""Entries that are kept of a plan: 12 bytes each, and 20 more while training draws from them."""

BLOCK_PAIRS = {"cpu": 500_000, "cuda": 50_000_000}
"""Pairs whose costs are held at once: 4 MB a copy, near a processor's cache; or what keeps a GPU busy."""


@dataclass(frozen=True)
class Coupling:
    """A plan between two snapshots and how well it was solved.

    ``plan``: csr, shape ``(n, m)``, mass that source cell i sends to target cell j. ``mass0``: shape ``(n,)``, mass
    the source cells hold. ``marginal_error``: L1 error of the marginals as a share of the total mass, as solved.
    ``n_parts``: couplings that it is the mean of; 1 when the snapshots were coupled whole.
    """

    plan: csr_array
    mass0: np.ndarray
    converged: bool
    n_iter: int
    marginal_error: float
    n_parts: int = 1

    @property
    def row_mass(self) -> np.ndarray:
        """What one unit of each source cell's mass becomes, shape ``(n,)``."""
        return self.plan.sum(axis=1) / self.mass0


def semi_relaxed(
    x0: Tensor,
    x1: Tensor,
    mass0: Tensor,
    mass1: Tensor,
    generator: torch.Generator,
    *,
    eps: float,
    rho: float,
    drift_rho: float | None,
) -> Coupling:
    """Semi-relaxed entropic transport: target marginal exact, source marginal at a price (:cite:p:`Wang25`, eq. 9).

    The cost is the squared distance divided by its mean over two independent cells of the data (2 d in coordinates
    of unit variance), one number for all intervals, so that ``eps`` and ``rho`` have no unit. With ``drift_rho``,
    a plan with that penalty says how cells drift, and the distance is taken from where the drift carries them (see
    `drift`). Large snapshots are coupled in parts (see `chunks`).
    """

    def couple(x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor) -> sinkhorn.Plan:
        if drift_rho is None:
            return _solved(x0, x1, mass0, mass1, generator, eps=eps, rho=rho)
        first = _solved(x0, x1, mass0, mass1, generator, eps=eps, rho=drift_rho)
        moved = drift.carried(x0, x1, first.entries, BLOCK_PAIRS[x0.device.type])
        plan = _solved(moved, x1, mass0, mass1, generator, eps=eps, rho=rho)
        return plan._replace(
            converged=first.converged and plan.converged,
            n_iter=first.n_iter + plan.n_iter,
            marginal_error=float(np.max([first.marginal_error, plan.marginal_error])),
        )

    return _in_parts(couple, x0, x1, mass0, mass1, generator)


def balanced(
    x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor, generator: torch.Generator, *, eps: float
) -> Coupling:
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
    generator: torch.Generator,
) -> Coupling:
    """What ``couple`` makes of float64 tensors, in one piece where they are small enough."""
    x0, x1, mass0, mass1 = _exact(x0, x1, mass0, mass1)
    most_pairs = MOST_PAIRS[x0.device.type]
    plan, parts = chunks.coupled(
        couple, x0, x1, mass0, mass1, generator, most_pairs=most_pairs, most_entries=MOST_ENTRIES
    )
    return Coupling(
        plan,
        mass0.cpu().numpy(),
        converged=all(part.converged for part in parts),
        n_iter=max(part.n_iter for part in parts),
        marginal_error=float(np.max([part.marginal_error for part in parts])),  # NaN stays
        n_parts=len(parts),
    )


def _exact(*tensors: Tensor) -> list[Tensor]:
    """In float64, on the processor where the device has none."""
    return [(part.cpu() if part.device.type == "mps" else part).double() for part in tensors]


def _solved(
    x0: Tensor, x1: Tensor, mass0: Tensor, mass1: Tensor, generator: torch.Generator, *, eps: float, rho: float
) -> sinkhorn.Plan:
    """Solve in units of the mean squared distance, to the tolerances of this file."""
    unit = (2 * x0.shape[1]) ** 0.5
    return sinkhorn.solve(
        x0 / unit,
        x1 / unit,
        mass0,
        mass1,
        eps=eps,
        rho=rho,
        tol=MARGINAL_TOL,
        max_iter=MAX_PRODUCTS,
        block=BLOCK_PAIRS[x0.device.type],
        generator=generator,
    )


def expected(mass0: np.ndarray, log_growth: np.ndarray) -> np.ndarray:
    """Masses in the ratios that cells of ``mass0`` would have after ``log_growth``, the total unchanged.

    The plan that takes them for its source differs from that of ``mass0`` by these ratios alone: a factor common to all
    cells drops out of the semi-relaxed problem, whose total is the target's.
    """
    grown = mass0 * np.exp(log_growth - log_growth.max())
    return grown * (mass0.sum() / grown.sum())


def as_coupling(plan, mass0: np.ndarray, n_targets: int) -> Coupling:
    """A `Coupling` from what a coupling function returned: itself, an array, a tensor or a scipy sparse matrix.

    ``mass0`` is the mass that source cells hold, which may not be the one that the function was given to start from.
    """
    if isinstance(plan, Coupling):
        return replace(plan, plan=_entries(plan.plan, (len(mass0), n_targets)), mass0=mass0)
    # a plan that comes without a solver's word stands as it is
    return Coupling(_entries(plan, (len(mass0), n_targets)), mass0, converged=True, n_iter=0, marginal_error=0.0)


def _entries(plan, shape: tuple[int, int]) -> csr_array:
    if isinstance(plan, Tensor):
        plan = plan.detach().cpu().numpy()
    entries = csr_array(plan if issparse(plan) else np.asarray(plan, dtype=float), copy=True)
    if entries.shape != shape:
        msg = f"The coupling returned a plan of shape {entries.shape}; (n, m) = {shape} is needed."
        raise ValueError(msg)
    entries.eliminate_zeros()
    if not np.isfinite(entries.data).all() or (entries.data < 0).any():
        msg = "The coupling returned a plan with negative, infinite or missing entries."
        raise ValueError(msg)
    return entries
