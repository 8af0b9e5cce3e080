"""From what training returns to what `fit` writes."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.sparse import csr_matrix

from vgfm_sc import _anndata
from vgfm_sc.core import training
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.model import Model
from vgfm_sc.core.scaling import Scaling

STORED_SHARE = 1e-6
"""Entries of a coupling below this share of their row and of their column are not stored."""


def fields(trained: training.Trained, scaling: Scaling, snapshots: _anndata.Snapshots) -> tuple[np.ndarray, np.ndarray]:
    """Velocity and growth at every cell and its own time."""
    velocity, growth = Model(trained.networks, scaling)(snapshots.time, snapshots.x)
    if not (np.isfinite(velocity).all() and np.isfinite(growth).all()):
        msg = "The trained networks give values that are not finite. Lower match_lr."
        raise FloatingPointError(msg)
    return velocity, growth


def convergence(couplings: list[Coupling]) -> dict[str, np.ndarray]:
    """How well each coupling was solved."""
    return {
        name: np.asarray([getattr(c, name) for c in couplings])
        for name in ("converged", "n_iter", "marginal_error", "n_parts")
    }


def warn_unconverged(convergence: dict[str, np.ndarray], time_points: np.ndarray) -> None:
    """Say which couplings did not converge, and what to change."""
    for k in np.flatnonzero(~convergence["converged"]):
        msg = (
            f"The coupling from {time_points[k]:g} to {time_points[k + 1]:g} did not converge: its marginals miss "
            f"{convergence['marginal_error'][k]:.1e} of the mass after {convergence['n_iter'][k]} iterations. Raise "
            "eps, for example method=vgfm_sc.methods.vgfm(eps=0.01)."
        )
        warnings.warn(msg, RuntimeWarning, stacklevel=3)


def joined_plans(couplings: list[Coupling], rows: list[np.ndarray], n_obs: int) -> csr_matrix:
    """All plans as one matrix in the order of the object, without entries too small to matter."""
    parts = []
    for coupling, source, target in zip(couplings, rows[:-1], rows[1:], strict=True):
        plan = coupling.plan.tocoo()
        row_share = plan.data / coupling.plan.sum(axis=1)[plan.row]
        column_share = plan.data / coupling.plan.sum(axis=0)[plan.col]
        keep = (row_share > STORED_SHARE) | (column_share > STORED_SHARE)
        parts.append((plan.data[keep].astype(np.float32), source[plan.row[keep]], target[plan.col[keep]]))
    data, i, j = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_matrix((data, (i, j)), shape=(n_obs, n_obs))
