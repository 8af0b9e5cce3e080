"""From the representation of a fit back to genes, where it is linear in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import anndata as ad
import numpy as np

from vgfm_sc._anndata.expression import gene_positions, read_expression, read_moments
from vgfm_sc._anndata.modalities import check_has_genes
from vgfm_sc._anndata.representation import Representation, read_representation
from vgfm_sc._anndata.results import read_result

CHECKED_CELLS = 2000
"""Cells on which the loadings are compared with the matrix: what changes it shows in far fewer."""

TOL = 0.1
"""Part of the representation, root mean square, that the loadings may miss. Exact solvers of a PCA leave 1e-6, scanpy's
``svd_solver="randomized"`` on dense data up to 0.06; other scaling, other genes or other counts leave more."""


class Loadings(NamedTuple):
    """Expression of ``genes`` at representation ``x`` is ``mean + x @ matrix.T``, in the units of ``layer``.

    ``genes``: positions in ``var``, shape ``(p,)``. ``matrix``: shape ``(p, d)``. ``mean``: expression at the origin of
    the representation, shape ``(p,)``. ``sd``: standard deviation of expression over all cells, shape ``(p,)``.
    ``layer``: where the expression is; `None` is ``X``. Where the representation is the genes themselves, ``matrix`` is
    `None`: the identity of 20,000 genes would take gigabytes.
    """

    genes: np.ndarray
    matrix: np.ndarray | None
    mean: np.ndarray
    sd: np.ndarray
    layer: str | None

    def to_genes(self, values: np.ndarray) -> np.ndarray:
        """Velocities or gradients in the representation, shape ``(n, d)``, to genes, shape ``(n, p)``."""
        return values if self.matrix is None else values @ self.matrix.T

    def along(self, axes: np.ndarray | None, places: np.ndarray) -> np.ndarray:
        """Loadings of the genes at ``places`` on orthonormal ``axes``, shape ``(q, d)``, or on those there are."""
        if self.matrix is not None:
            return self.matrix[places] if axes is None else self.matrix[places] @ axes.T
        return np.eye(len(self.genes))[places] if axes is None else axes.T[places]


def read_loadings(adata: ad.AnnData, key: str) -> Loadings:
    """Loadings of what the fit under ``key`` is on: a PCA of this object, or its genes.

    A PCA is ``x = (X - centre) @ matrix``, so ``X @ matrix - x`` is the same in every cell. That is what is checked,
    and not the centre: it was a mean over the cells of its day, some of which may have been dropped since. Cells
    dropped or reordered pass, and so do genes shifted; rescaling, another normalisation or dropping genes that the PCA
    used do not. ``mean`` is the one that fits the cells at hand best: their mean expression less what their
    representation makes of it. Where no cells were dropped from a centred PCA that is the mean of all cells.

    Genes without any loading were not in the PCA and are left out.
    """
    representation = Representation.stored(read_result(adata, key)["params"])
    check_has_genes(adata)
    if representation.use_rep is not None:
        return _of_pca(adata, key, representation.use_rep)
    assert representation.genes is not None
    genes = gene_positions(adata, representation.genes)
    sd = read_moments(adata, representation.layer).sd[genes]
    return Loadings(genes, None, np.zeros(len(genes)), sd, representation.layer)


def _of_pca(adata: ad.AnnData, key: str, use_rep: str) -> Loadings:
    varm, uns = ("PCs", "pca") if use_rep == "X_pca" else (use_rep, use_rep)  # as scanpy names them
    if varm not in adata.varm:
        msg = (
            f"The fit under {key!r} uses obsm[{use_rep!r}], and adata.varm has no {varm!r} to translate it into genes. "
            f"Available: {list(adata.varm)}. Results for genes need a fit on a PCA of this object (run "
            "`sc.pp.pca(adata)`, then `vgfm_sc.tl.fit(adata, time_key=...)`) or on the genes themselves "
            "(`vgfm_sc.tl.fit(adata, time_key=..., use_rep=None)`)."
        )
        raise KeyError(msg)
    x = read_representation(adata, use_rep)
    matrix = np.asarray(adata.varm[varm], dtype=float)
    if matrix.shape != (adata.n_vars, x.shape[1]):
        msg = (
            f"varm[{varm!r}] has shape {matrix.shape}, obsm[{use_rep!r}] has {x.shape[1]} dimensions: they come from "
            "different PCAs. Run `sc.pp.pca(adata)` and `vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)
    layer = _layer(adata, uns)
    genes = np.flatnonzero(matrix.any(axis=1))
    matrix = matrix[genes]
    _check(adata, layer, genes, matrix, x, use_rep)
    mean, sd, _ = read_moments(adata, layer)
    return Loadings(genes, matrix, mean[genes] - matrix @ x.mean(axis=0), sd[genes], layer)


def _layer(adata: ad.AnnData, uns: str) -> str | None:
    """The layer that the PCA was computed on, as scanpy noted it."""
    stored = adata.uns.get(uns)
    layer = stored["params"].get("layer") if isinstance(stored, Mapping) and "params" in stored else None
    if layer is not None and layer not in adata.layers:
        msg = (
            f"The PCA was computed on layers[{layer!r}], which is not in adata.layers. Available: "
            f"{[k for k in adata.layers if k is not None]}. Put it back, or run `sc.pp.pca(adata)` and "
            "`vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)
    return layer


def _check(
    adata: ad.AnnData, layer: str | None, genes: np.ndarray, matrix: np.ndarray, x: np.ndarray, use_rep: str
) -> None:
    rng = np.random.default_rng(0)
    cells = np.sort(rng.choice(len(x), min(CHECKED_CELLS, len(x)), replace=False))
    offset = np.concatenate([block[:, genes] @ matrix for _, block in read_expression(adata, layer, cells)]) - x[cells]
    missed = np.sqrt(offset.var(axis=0).sum() / x[cells].var(axis=0).sum())
    if not missed <= TOL:  # of NaN too
        where = "adata.X" if layer is None else f"layers[{layer!r}]"
        msg = (
            f"{where} is no longer the matrix that obsm[{use_rep!r}] was computed from: the loadings miss {missed:.0%} "
            "of it. Was it scaled, normalised again or replaced after the PCA, or were genes dropped? Restore that "
            "matrix, or run `sc.pp.pca(adata)` and `vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)
