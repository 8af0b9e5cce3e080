from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.reading import projection
from vgfm_sc.tl._model import models_and_cells


def project(adata: AnnData, basis: str = "umap", *, key: str = "vgfm", seed: int = 0, device: str = "auto") -> None:
    """Lay velocities and simulated trajectories on an embedding.

    Call it again after the embedding was recomputed or cells were simulated again.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`, and after `vgfm_sc.tl.simulate` if trajectories are to be drawn.
    basis
        Embedding of the same cells: ``obsm["X_<basis>"]`` or ``obsm[basis]``.
    key
        The fit's ``key_added``.
    seed
        Of the draw of the cells that points are placed among, in data of more than 20,000 cells, or 10,000 in more than
        five dimensions.
    device
        Where to evaluate the networks, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    `None`. Sets the following fields, here for the basis ``"umap"``:

    ``adata.obsm["vgfm_velocity_umap"]`` : :class:`numpy.ndarray` (float32, shape ``(n_obs, q)``)
        Velocity on the embedding, in its units per unit of the time key. Exact where the embedding is a linear map of
        the representation; elsewhere from the places of a cell's surroundings a little ahead and behind.
    ``adata.uns["vgfm"]["trajectories"]["positions_umap"]`` : :class:`numpy.ndarray` (float32, ``(n_times, n, q)``)
        The trajectories on the embedding, if there are any.
    ``adata.uns["vgfm"]["perturbations"][...]["positions_umap"]``, ``["positions_changed_umap"]``
        Likewise those of `vgfm_sc.tl.perturb`.

    Raises
    ------
    KeyError
        No fit under ``key``, or no such basis.
    ValueError
        The basis holds values that are not finite, is the representation of the fit itself, or its key is taken by
        something else.

    Examples
    --------
    >>> import scanpy as sc
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching(n_genes=200)
    >>> sc.pp.pca(adata)
    >>> sc.pp.neighbors(adata)
    >>> sc.tl.umap(adata)
    >>> vgfm_sc.tl.fit(adata, "time")
    >>> vgfm_sc.tl.project(adata, "umap")
    """
    result, snapshots, models = models_and_cells(adata, key, device)
    _checks.seed(seed)
    scaling = next(iter(models.values())).scaling  # conditions have one
    if _anndata.basis_name(basis) == _anndata.fitted_basis(adata, key):
        msg = f"Basis {basis!r} is the representation of the fit: velocities and trajectories are there already."
        raise ValueError(msg)
    name = _anndata.basis_key(adata, basis)
    y = _anndata.read_representation(adata, name)
    short = _anndata.basis_name(name)
    stored = _anndata.read_velocity(adata, key)
    slot = ("obsm", f"{key}_velocity_{short}")
    _anndata.check_derived(adata, key, [slot])
    runs = _runs(result)
    d, positions = snapshots.x.shape[1], [np.asarray(run[name], dtype=float) for run, name in runs]
    points = np.concatenate([np.empty((0, d)), *(at.reshape(-1, d) for at in positions)])
    velocity, placed = projection.project(snapshots.x, y, stored, points, scaling, seed)
    ends = np.cumsum([at.shape[0] * at.shape[1] for at in positions])
    for (run, name), at, part in zip(runs, positions, np.split(placed, ends)[:-1] if runs else [], strict=True):
        run[f"{name}_{short}"] = part.astype(np.float32).reshape(*at.shape[:2], y.shape[1])
    changes = {name: result[name] for name in ("trajectories", "perturbations") if name in result}
    _anndata.write_derived(adata, key, {slot: velocity.astype(np.float32)}, **changes)


def _runs(result: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Copies of what holds trajectories, put in the place of the originals in ``result``, and where they are in it."""
    runs = []
    if "trajectories" in result:
        result["trajectories"] = dict(result["trajectories"])
        runs.append((result["trajectories"], "positions"))
    if "perturbations" in result:
        result["perturbations"] = {name: dict(kept) for name, kept in result["perturbations"].items()}
        runs += [(kept, name) for kept in result["perturbations"].values() for name in _anndata.POSITIONS]
    return runs
