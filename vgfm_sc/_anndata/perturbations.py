"""What `tl.perturb` and `tl.screen` wrote."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np

from vgfm_sc._anndata.keys import basis_name, named
from vgfm_sc._anndata.results import fitted_basis, read_result

POSITIONS = ("positions", "positions_changed")
"""Of trajectories without a change and with it; those on a basis have its name added."""


def read_perturbation(adata: ad.AnnData, key: str, name: str | None) -> dict[str, Any]:
    """The change of genes kept as ``name``; `None` is the only one."""
    kept = read_result(adata, key).get("perturbations", {})
    if not kept:
        msg = (
            f"No perturbations in adata.uns[{key!r}]. Run `vgfm_sc.tl.perturb(adata, {{...}}, cluster_key=..."
            f"{named(key)})` first."
        )
        raise KeyError(msg)
    if name is None and len(kept) > 1:
        msg = f"adata.uns[{key!r}] holds {len(kept)} perturbations. Choose one by name: {list(kept)}."
        raise ValueError(msg)
    if name is not None and name not in kept:
        msg = f"No perturbation {name!r} in adata.uns[{key!r}]. Names: {list(kept)}."
        raise KeyError(msg)
    return kept[next(iter(kept)) if name is None else name]


def read_perturbed_positions(
    adata: ad.AnnData, key: str, name: str | None, basis: str
) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories without the change and with it, on ``basis``, each of shape ``(n_times, n, q)``."""
    stored, short = read_perturbation(adata, key, name), basis_name(basis)
    end = "" if short == fitted_basis(adata, key) else f"_{short}"
    if any(f"{which}{end}" not in stored for which in POSITIONS):
        msg = (
            f"The perturbed trajectories have not been projected onto {basis!r}. Run `vgfm_sc.tl.project(adata, "
            f"{basis!r}{named(key)})` after `vgfm_sc.tl.perturb`."
        )
        raise KeyError(msg)
    unchanged, changed = (np.asarray(stored[f"{which}{end}"], dtype=float) for which in POSITIONS)
    return unchanged, changed


def read_screen(adata: ad.AnnData, key: str) -> dict[str, Any]:
    """What `tl.screen` stored."""
    result = read_result(adata, key)
    if "screen" not in result:
        msg = (
            f"No screen in adata.uns[{key!r}]. Run `vgfm_sc.tl.screen(adata, [...], cluster_key=...{named(key)})` "
            "first."
        )
        raise KeyError(msg)
    return result["screen"]
