"""Which cell becomes which, and with how much mass: what a coupling function must return, ours or a user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.sparse import csr_array, issparse
from torch import Tensor

CONTRACT_TOL = 1e-3
"""Share of the total mass by which the columns of a plan may miss the target masses: solvers that stop at percents are
refused, and rounding in single precision is not."""

_ARRAYS = ("plan", "mass0", "late")


@dataclass(frozen=True)
class Coupling:
    """A plan between two snapshots and how well it was solved.

    ``plan``: csr, shape ``(n, m)``, mass that source cell i sends to target cell j. ``mass0``: shape ``(n,)``, mass
    the source cells hold. ``converged``: whether a solver said so; `False` for a plan that came without a solver's
    report. ``marginal_error``: L1 error of the marginals as a share of the total mass, as solved; of a plan without a
    report that of its columns. ``n_parts``: couplings that it is the mean of; 1 when the snapshots were coupled whole.
    ``solved``: whether there was a report. ``late``: part of the log growth that depends on the target cell, shape
    ``(m,)``; the other part depends on the source cell. `None`: there is only the other. ``rho_factor``: factor on
    the method's penalty on growth.
    """

    plan: csr_array
    mass0: np.ndarray
    converged: bool
    n_iter: int
    marginal_error: float
    n_parts: int = 1
    solved: bool = True
    late: np.ndarray | None = None
    rho_factor: float = 1.0

    @property
    def row_mass(self) -> np.ndarray:
        """What one unit of each source cell's mass becomes, shape ``(n,)``."""
        return self.plan.sum(axis=1) / self.mass0

    @property
    def late_growth(self) -> np.ndarray:
        """Log growth of mass by its target cell, shape ``(m,)``."""
        return np.zeros(self.plan.shape[1]) if self.late is None else self.late

    @property
    def early_growth(self) -> np.ndarray:
        """Log growth of mass by its source cell, shape ``(n,)``; that between two cells is the sum of both."""
        return np.log(self.plan @ np.exp(-self.late_growth) / self.mass0)

    def grown(self, log_growth: np.ndarray) -> Coupling:
        """The same with mass that grows by ``log_growth`` of its target cell as well, shape ``(m,)``."""
        plan = self.plan.copy()
        plan.data *= np.exp(log_growth)[plan.indices]
        return replace(self, plan=plan, late=self.late_growth + log_growth)

    def over_descendants(self, values: np.ndarray) -> np.ndarray:
        """Mean of ``values``, shape ``(m, q)``, over each source cell's descendants, ``(n, q)``."""
        return (self.plan @ values) / self.plan.sum(axis=1)[:, None]

    def over_ancestors(self, values: np.ndarray) -> np.ndarray:
        """Mean of ``values``, shape ``(n, q)``, over each target cell's ancestors, ``(m, q)``."""
        return over_ancestors(self.plan, values)

    def convergence(self) -> dict[str, bool | int | float]:
        """How well it was solved."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _ARRAYS}

    def arrays(self) -> dict[str, np.ndarray]:
        """What `of_arrays` makes the same coupling of."""
        plan = self.plan
        csr = {"data": plan.data, "indices": plan.indices, "indptr": plan.indptr, "shape": np.asarray(plan.shape)}
        late = {} if self.late is None else {"late": self.late}
        return {
            **csr,
            **late,
            "mass0": self.mass0,
            **{name: np.asarray(value) for name, value in self.convergence().items()},
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Coupling:
        """The coupling of which `arrays` made these."""
        plan = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(map(int, arrays["shape"])))
        plan.check_format()
        report = {field.name: arrays[field.name].item() for field in fields(cls) if field.name not in _ARRAYS}
        return cls(plan, arrays["mass0"], late=arrays.get("late"), **report)


def over_ancestors(plan, values: np.ndarray) -> np.ndarray:
    """Mean of ``values``, shape ``(n, q)``, over the ancestors of each target cell of ``plan``, ``(m, q)``.

    A target cell j comes from source cell i with probability pi_ij / sum_k pi_kj. NaN where it has none.
    """
    total = plan.T @ np.ones(plan.shape[0])
    with np.errstate(invalid="ignore"):
        return (plan.T @ values) / total[:, None]


def as_coupling(plan, mass0: np.ndarray, mass1: np.ndarray) -> Coupling:
    """A `Coupling` from what a coupling function returned: itself, an array, a tensor or a scipy sparse matrix.

    ``mass0`` is the mass that source cells hold, shape ``(n,)``, which may not be the one that the function was given
    to start from; ``mass1`` that of the target cells, shape ``(m,)``.

    Raises
    ------
    ValueError
        The plan has another shape, entries that are no masses, empty rows or columns, or columns that do not sum to
        ``mass1``; the message says what was found and how to mend it.
    """
    given = plan.plan if isinstance(plan, Coupling) else plan
    entries = _entries(given, (len(mass0), len(mass1)))
    error = _check_mass(entries, mass1)
    if isinstance(plan, Coupling):
        return replace(plan, plan=entries, mass0=mass0)
    return Coupling(entries, mass0, converged=False, n_iter=0, marginal_error=error, solved=False)


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


def _check_mass(plan: csr_array, mass1: np.ndarray) -> float:
    """Refuse a plan that breaks the contract; else the L1 error of its columns as a share of the total mass."""
    n, m = plan.shape
    row, column, total = plan.sum(axis=1), plan.sum(axis=0), mass1.sum()
    if not row.all():
        msg = (
            f"The coupling leaves {int((row == 0).sum())} of {n} source cells without descendants (empty rows of the "
            f"plan, the first is row {int(np.argmin(row))}). Every cell must send some mass. Are these cells outliers, "
            "far from all later cells? Drop them, or let every cell send something: methods.vgfm does with a larger "
            "rho."
        )
        raise ValueError(msg)
    if not column.all():
        msg = (
            f"The coupling leaves {int((column == 0).sum())} of {m} target cells without ancestors (empty columns of "
            f"the plan, the first is column {int(np.argmin(column))}). Column j must sum to mass1[j]."
        )
        raise ValueError(msg)
    error = float(np.abs(column - mass1).sum() / total)
    if error <= CONTRACT_TOL:
        return error
    found = f"The coupling returned a plan of total mass {column.sum():.6g}; the target cells hold {total:.6g}."
    if np.abs(column * (total / column.sum()) - mass1).sum() <= CONTRACT_TOL * total:
        msg = (
            f"{found} It is off by a common factor, as plans that sum to 1 are. Return "
            "plan * (mass1.sum() / plan.sum())."
        )
        raise ValueError(msg)
    worst = int(np.abs(column - mass1).argmax())
    msg = (
        f"{found} Column j must sum to mass1[j]; the columns miss that by {error:.2g} of the total, where "
        f"{CONTRACT_TOL:g} is allowed. Worst is column {worst}, which sums to {column[worst]:.6g} where mass1 is "
        f"{mass1[worst]:.6g}. If the plan is right up to the mass of each target cell, return "
        "plan * (mass1 / plan.sum(0))."
    )
    raise ValueError(msg)
