"""Descendants and ancestors by the plan of an interval.

A target cell j comes from source cell i with probability pi_ij / sum_k pi_kj. Following this one kernel in both
directions keeps the units apart: forward it averages over the ancestors of a cell, backward it spreads over them. What
the cells' masses are drops out. Cells of which the plan knows nothing are NaN, and others are judged without them.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from vgfm_sc.core.coupling import over_ancestors


def of_descendants(plan: csr_matrix, values: np.ndarray) -> np.ndarray:
    """Mean of ``values``, shape ``(n,)``, over the ancestors of each target cell, ``(m,)``."""
    known = ~np.isnan(values)
    total, share = over_ancestors(plan, np.column_stack([np.where(known, values, 0.0), known])).T
    return _divided(total, share)


def of_ancestors(plan: csr_matrix, shares: np.ndarray) -> np.ndarray:
    """``shares`` of the target cells, shape ``(m,)``, given to their ancestors, ``(n,)``; in all 1."""
    n, m = plan.shape
    given = plan @ np.nan_to_num(_divided(shares, plan.T @ np.ones(n)))
    return _divided(np.where(plan @ np.ones(m) > 0, given, np.nan), given.sum())


def _divided(values: np.ndarray, by: np.ndarray | float) -> np.ndarray:
    """``values / by``, NaN where ``by`` is 0."""
    return np.divide(values, by, out=np.full(len(values), np.nan), where=np.asarray(by) > 0)
