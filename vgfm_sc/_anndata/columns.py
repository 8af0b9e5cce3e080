"""One value a cell: a column of obs, or the expression of a gene."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.expression import check_layer, dense, row_blocks
from vgfm_sc._anndata.keys import check_name
from vgfm_sc._anndata.modalities import owners


def read_column(adata: ad.AnnData, name: str, layer: str | None = None) -> pd.Categorical | np.ndarray:
    """``obs[name]``, or a gene in ``X`` or ``layers[layer]``: categories, or numbers of shape ``(n_obs,)``."""
    if name in adata.obs:
        column = adata.obs[name]
        if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
            return pd.Categorical(column).remove_unused_categories()
        return column.to_numpy(dtype=float, na_value=np.nan)
    return read_genes(adata, [name], layer)[:, 0]


def read_genes(adata: ad.AnnData, names: list[str], layer: str | None = None) -> np.ndarray:
    """Expression of the genes ``names``, float64, shape ``(n_obs, len(names))``."""
    positions = adata.var_names.get_indexer_for(names) if adata.var_names.is_unique else None
    if positions is None:
        msg = "var_names are not unique. Run `adata.var_names_make_unique()` first."
        raise ValueError(msg)
    missing = [name for name, position in zip(names, positions, strict=True) if position < 0]
    if missing:
        msg = f"{missing} found neither in adata.obs {list(adata.obs.columns)} nor in adata.var_names."
        raise KeyError(msg)
    check_layer(adata, layer)
    matrix = adata.X if layer is None else adata.layers[layer]
    columns: np.ndarray | slice = positions
    if getattr(matrix, "format", None) == "csc":  # rows cannot be cut from columns without reading all of them
        matrix = (adata[:, positions].X if adata.isbacked and layer is None else matrix[:, positions]).tocsr()
        columns = slice(None)
    x = np.empty((adata.n_obs, len(positions)))
    for rows in row_blocks(matrix):  # h5py takes positions in increasing order alone, an array in memory any
        x[rows] = dense(matrix[rows][:, columns])
    return x


def read_categories(adata: ad.AnnData, name: str) -> pd.Categorical:
    """``obs[name]`` as categories."""
    check_name(name, "A column of labels")
    if name not in adata.obs:
        msg = f"Column {name!r} not found in adata.obs. Available: {list(adata.obs.columns)}."
        raise KeyError(msg)
    column = read_column(adata, name)
    if not isinstance(column, pd.Categorical):
        msg = f"obs[{name!r}] holds numbers; categories are needed, for example by `.astype('category')`."
        raise TypeError(msg)
    if not len(column.categories):
        msg = f"obs[{name!r}] is missing in every cell."
        raise ValueError(msg)
    return column


def read_groups(
    adata: ad.AnnData, name: str, argument: str, what: str, advice: str = ""
) -> tuple[list[str], np.ndarray]:
    """Names of the conditions or samples in ``obs[name]``, and the number of each cell's, shape ``(n_obs,)``.

    There are at least two, and every cell has one. Errors speak of ``what``, such as ``"condition"``, and add
    ``advice`` where cells have none.
    """
    check_name(name, argument)
    if name not in adata.obs:
        msg = (
            f"{what.capitalize()} column {name!r} not found in adata.obs. Available: {list(adata.obs.columns)}."
            f"{owners(adata, 'obs', name)}"
        )
        raise KeyError(msg)
    column, where = read_categories(adata, name), f"obs[{name!r}]"
    missing = int((column.codes < 0).sum())
    if missing:
        msg = f"{where} is missing for {missing} of {adata.n_obs} cells. Give them a {what} or drop them.{advice}"
        raise ValueError(msg)
    names = [str(category) for category in column.categories]
    if len(names) == 1:
        msg = f"{where} holds one {what}, {names[0]!r}; at least two are needed. Leave {argument} out."
        raise ValueError(msg)
    if len(set(names)) < len(names):
        msg = f"{where} holds values that read alike: {names}. Rename them."
        raise ValueError(msg)
    return names, column.codes.astype(np.int64)
