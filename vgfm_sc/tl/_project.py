from __future__ import annotations

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.reading import projection
from vgfm_sc.tl._model import model_and_cells


def project(adata: AnnData, basis: str = "umap", *, key: str = "vgfm", seed: int = 0, device: str = "auto") -> None:
    """Lay velocities and simulated trajectories on an embedding.

    Call it again when the embedding has been made anew, or cells have been simulated again.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`, and after `vgfm_sc.tl.simulate` if trajectories are to be drawn.
    basis
        Embedding of the same cells: ``obsm["X_<basis>"]`` or ``obsm[basis]``.
    key
        The fit's ``key_added``.
    seed
        Of the draw of the cells that points are placed among, in large data.
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
    result, snapshots, model = model_and_cells(adata, key, device)
    _checks.seed(seed)
    if _anndata.basis_name(basis) == _anndata.fitted_basis(adata, key):
        msg = f"Basis {basis!r} is the representation of the fit: velocities and trajectories are there already."
        raise ValueError(msg)
    name = _anndata.basis_key(adata, basis)
    y = _anndata.read_representation(adata, name)
    short = _anndata.basis_name(name)
    stored = _anndata.read_velocity(adata, key)
    slot = ("obsm", f"{key}_velocity_{short}")
    _anndata.check_derived(adata, key, [slot])
    trajectories = result.get("trajectories")
    d = snapshots.x.shape[1]
    positions = np.empty((0, 0, d)) if trajectories is None else np.asarray(trajectories["positions"], dtype=float)
    velocity, placed = projection.project(snapshots.x, y, stored, positions.reshape(-1, d), model.scaling, seed)
    changes = {}
    if trajectories is not None:
        on_basis = placed.astype(np.float32).reshape(*positions.shape[:2], y.shape[1])
        changes["trajectories"] = {**trajectories, f"positions_{short}": on_basis}
    _anndata.write_derived(adata, key, {slot: velocity.astype(np.float32)}, **changes)
