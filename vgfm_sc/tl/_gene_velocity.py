from __future__ import annotations

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata
from vgfm_sc.tl._model import models_and_cells

BLOCK_CELLS = 4096
"""Cells whose velocities are told in double precision at once."""


def gene_velocity(adata: AnnData, *, key: str = "vgfm") -> None:
    """Velocity of every gene, from a fit on principal components or on genes themselves.

    A principal component is a weighted sum of genes, so a velocity along components is one of genes: that part of
    their change which the components see. Under the name it is written, scVelo and CellRank find it as
    ``vkey="vgfm_velocity"``.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit` on a PCA that `scanpy.pp.pca` has left in it, or in gene space
        (``use_rep=None``). Cells may have been dropped since, genes of the PCA not.
    key
        The fit's ``key_added``.

    Returns
    -------
    `None`. Sets the following fields:

    ``adata.layers["vgfm_velocity"]`` : :class:`numpy.ndarray` (float32, shape ``(n_obs, n_vars)``)
        Change of expression per unit of time, in units of the matrix that the PCA or the fit was computed on. NaN for
        genes that were not part of it, of which nothing is known. The array is dense: to save memory, keep only
        those that were, ``adata[:, adata.var["highly_variable"]].copy()``, before.
    ``adata.var["vgfm_velocity_genes"]`` : :class:`pandas.Series` (bool)
        Whether a gene has a velocity; scVelo and CellRank use those that have.

    Raises
    ------
    KeyError
        No fit under ``key``, or one on a representation that does not lead back to genes.
    ValueError
        The matrix has changed since the PCA, or the name of the layer or column is taken by something else.

    Examples
    --------
    >>> import scanpy as sc
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching(n_genes=200)
    >>> sc.pp.pca(adata)
    >>> vgfm_sc.tl.fit(adata, "time")
    >>> vgfm_sc.tl.gene_velocity(adata)
    """
    loadings = _anndata.read_loadings(adata, key)
    models_and_cells(adata, key, "cpu")  # the loadings and the cells may both be of another PCA than the velocity
    velocity = _anndata.read_velocity(adata, key)
    layer, column = ("layers", f"{key}_velocity"), ("var", f"{key}_velocity_genes")
    _anndata.check_derived(adata, key, [layer, column])
    of_genes = np.full(adata.shape, np.nan, dtype=np.float32)
    for first in range(0, adata.n_obs, BLOCK_CELLS):
        rows = slice(first, first + BLOCK_CELLS)
        of_genes[rows, loadings.genes] = loadings.to_genes(velocity[rows])
    modelled = np.zeros(adata.n_vars, dtype=bool)
    modelled[loadings.genes] = True
    _anndata.write_derived(adata, key, {layer: of_genes, column: modelled})
