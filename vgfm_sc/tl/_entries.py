"""What a fit writes: its models as entries of AnnData."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import vgfm_sc
from vgfm_sc import _anndata
from vgfm_sc.core.scaling import Scaling
from vgfm_sc.tl import _ensemble, _results


def of_fit(
    models: Sequence[_ensemble.Fitted],
    keys: _anndata.Keys,
    rows: list[np.ndarray],
    n_obs: int,
    params: Mapping[str, Any],
    time_points: np.ndarray,
    scaling: Scaling,
) -> dict[tuple[str, str], Any]:
    """``{(slot, name): value}``; the first of ``models`` is the fit itself, ``rows`` are the cells it trained on."""
    main = models[0]
    mass = np.full(n_obs, np.nan, dtype=np.float32)
    for coupling, cells in zip(main.couplings, rows[:-1], strict=True):
        mass[cells] = coupling.row_mass
    entries: dict[tuple[str, str], Any] = {
        ("obsm", keys.velocity): main.velocity.astype(np.float32),
        ("obs", keys.growth): main.growth.astype(np.float32),
        ("obs", keys.mass): mass,
        ("obsp", keys.coupling): _results.joined_plans(main.couplings, rows, n_obs),
        ("uns", keys.uns): {
            "package": _anndata.MARK,
            "version": vgfm_sc.__version__,
            "params": dict(params),
            "time_points": time_points,
            "scaling": {name: value for name, value in scaling._asdict().items() if value is not None},
            "couplings": main.convergence,
            "history": main.history,
            "weights": main.weights,
        },
    }
    if len(models) > 1:
        velocities, growths = (np.stack([getattr(m, name) for m in models]) for name in ("velocity", "growth"))
        entries["obs", keys.growth_sd] = growths.std(axis=0, ddof=1).astype(np.float32)
        entries["obs", keys.velocity_sd] = np.sqrt(velocities.var(axis=0, ddof=1).sum(axis=1)).astype(np.float32)
    return entries
