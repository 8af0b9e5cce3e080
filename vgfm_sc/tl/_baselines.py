"""Predictions of a time point left out that need no model."""

from __future__ import annotations

import numpy as np

from vgfm_sc import _anndata
from vgfm_sc.core.reading.distances import displacement_interpolation


def baselines(
    snapshots: _anndata.Snapshots, k: int, max_cells: int, rng: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Positions, shape ``(n, d)``, and masses of each prediction of time point ``k``, by name."""
    points, totals = snapshots.time_points, snapshots.totals
    before, after = (snapshots.x[snapshots.rows[j]] for j in (k - 1, k + 1))
    share = (points[k] - points[k - 1]) / (points[k + 1] - points[k - 1])
    source, target = (x[rng.permutation(len(x))[:max_cells]] for x in (before, after))
    x, weight = displacement_interpolation(source, target, share)
    total = totals[k - 1] ** (1 - share) * totals[k + 1] ** share
    nearest, its = (before, totals[k - 1]) if share <= 0.5 else (after, totals[k + 1])
    return {"linear": (x, total * weight), "nearest": (nearest, np.full(len(nearest), its / len(nearest)))}
