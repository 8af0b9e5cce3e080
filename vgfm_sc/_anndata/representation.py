"""What positions of cells are read from: a key of obsm, or the expression of genes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.columns import read_genes
from vgfm_sc._anndata.expression import dense, row_blocks
from vgfm_sc._anndata.keys import basis_name
from vgfm_sc._anndata.modalities import check_readable, owners

GENES = "genes"
"""Basis of a fit to expression, as the name of its velocity ends."""

MOST_NAMED = 10
"""Genes that an error lists: data have thousands."""


class Representation(NamedTuple):
    """``obsm[use_rep]``; or, where that is `None`, the expression of ``genes`` in ``X`` or in ``layers[layer]``."""

    use_rep: str | None
    layer: str | None = None
    genes: np.ndarray | None = None

    @classmethod
    def chosen(
        cls, adata: ad.AnnData, use_rep: str | None, layer: str | None, genes: Sequence[str] | str | None
    ) -> Representation:
        """What the arguments of a tool name, checked; genes by name."""
        check_readable(adata)
        if use_rep is None:
            return cls(None, layer, _names(adata, genes))
        useless = [name for name, value in (("layer", layer), ("genes", genes)) if value is not None]
        if useless:
            msg = (
                f"use_rep={use_rep!r} is a key of obsm and does not accept {' and '.join(useless)}. Pass use_rep=None "
                "to fit expression."
            )
            raise ValueError(msg)
        return cls(use_rep)

    @classmethod
    def stored(cls, params: Mapping[str, Any]) -> Representation:
        """That of a fit, from the parameters it stored."""
        if GENES not in params:
            return cls(str(params["use_rep"]))
        names = [str(name) for name in params[GENES]]  # zarr gives strings of a kind that numpy does not cast
        return cls(None, params.get("layer"), np.asarray(names, dtype=str))

    @property
    def name(self) -> str:
        """Key of ``obsm``, or ``"genes"``."""
        return GENES if self.use_rep is None else self.use_rep

    @property
    def where(self) -> str:
        """As errors name it."""
        if self.use_rep is not None:
            return f"obsm[{self.use_rep!r}]"
        return "X" if self.layer is None else f"layers[{self.layer!r}]"

    def params(self) -> dict[str, Any]:
        """What a fit stores, so that `stored` finds the same matrix."""
        if self.use_rep is not None:
            return {"use_rep": self.use_rep}
        return {GENES: self.genes} | ({} if self.layer is None else {"layer": self.layer})

    def axes(self, d: int) -> list[str]:
        """Names of the ``d`` coordinates."""
        if self.genes is not None:
            return self.genes.tolist()
        return [f"{basis_name(self.name)}{k + 1}" for k in range(d)]

    def read(self, adata: ad.AnnData) -> np.ndarray:
        """Positions of all cells, a float64 array of its own, shape ``(n_obs, d)``."""
        if self.use_rep is not None:
            return read_representation(adata, self.use_rep)
        assert self.genes is not None
        missing = self.genes[~np.isin(self.genes, adata.var_names.to_numpy(dtype=str))].tolist()
        if missing:
            some = ", ".join(missing[:MOST_NAMED]) + (", ..." if len(missing) > MOST_NAMED else "")
            msg = (
                f"{len(missing)} of {len(self.genes)} genes are not in adata.var_names: {some}. Take an object that "
                "has them, or run `vgfm_sc.tl.fit` on the genes that are there."
            )
            raise KeyError(msg)
        return checked(read_genes(adata, self.genes.tolist(), self.layer), self.where)


def _names(adata: ad.AnnData, genes: Sequence[str] | str | None) -> np.ndarray:
    """Names of all genes, of those that a column of ``var`` marks, or those given."""
    if genes is None:
        names = adata.var_names
    elif isinstance(genes, str):
        if genes not in adata.var:
            msg = (
                f"Column {genes!r} not found in adata.var. Available: {list(adata.var.columns)}. A gene is named in a "
                f"list: genes=[{genes!r}]."
            )
            raise KeyError(msg)
        column = adata.var[genes]
        if not pd.api.types.is_bool_dtype(column) or column.isna().any():
            msg = f"var[{genes!r}] is of type {column.dtype}; True or False for each gene is needed."
            raise TypeError(msg)
        names = adata.var_names[column.to_numpy(dtype=bool)]
    elif not isinstance(genes, Iterable):
        msg = f"genes must be a list of names or a boolean column of var, such as 'highly_variable'; got {genes!r}."
        raise TypeError(msg)
    else:
        names = pd.Index([str(name) for name in genes])
        twice = names[names.duplicated()].unique().tolist()
        if twice:
            msg = f"genes names {twice[:MOST_NAMED]} more than once."
            raise ValueError(msg)
    if not len(names):
        msg = f"genes={genes!r} names none of the {adata.n_vars} genes."
        raise ValueError(msg)
    return names.to_numpy(dtype=str)


def read_representation(adata: ad.AnnData, use_rep: str) -> np.ndarray:
    """``obsm[use_rep]`` as a float array of its own, shape ``(n_obs, d)``."""
    if use_rep not in adata.obsm:
        hint = owners(adata, "obsm", use_rep)
        if not hint and use_rep == "X_pca":
            hint = " Run `sc.pp.pca(adata)` first."
        msg = f"Representation {use_rep!r} not found in adata.obsm. Available: {list(adata.obsm)}.{hint}"
        raise KeyError(msg)
    x = adata.obsm[use_rep]
    if isinstance(x, pd.DataFrame) and all(pd.api.types.is_numeric_dtype(t) for t in x.dtypes):
        x = x.to_numpy(dtype=float, na_value=np.nan)  # nullable columns are objects otherwise
    elif not hasattr(x, "dtype"):
        x = np.asarray(x.to_numpy() if hasattr(x, "to_numpy") else x)
    if x.dtype.kind not in "fiu":
        msg = f"obsm[{use_rep!r}] is of type {x.dtype}; a numeric array is needed."
        raise TypeError(msg)
    if x.ndim != 2 or x.shape[1] == 0:
        msg = f"obsm[{use_rep!r}] has shape {x.shape}; (n_obs, at least 1 dimension) is needed."
        raise ValueError(msg)
    own = np.empty(x.shape)
    for rows in row_blocks(x):
        own[rows] = dense(x[rows])
    return checked(own, f"obsm[{use_rep!r}]")


def checked(x: np.ndarray, where: str) -> np.ndarray:
    """``x``, shape ``(n_obs, d)``, if it is finite and not constant; errors speak of ``where``."""
    bad = int((~np.isfinite(x)).any(axis=1).sum())
    if bad:
        msg = f"{where} holds NaN or infinity in {bad} of {len(x)} cells."
        raise ValueError(msg)
    if not np.ptp(x, axis=0).any():
        msg = f"{where} is constant: all cells are at one point."
        raise ValueError(msg)
    return x
