"""Which cells carry the same lineage barcode, read and checked."""

from __future__ import annotations

from collections.abc import Sequence

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.keys import check_name
from vgfm_sc._anndata.modalities import owners

NO_BARCODE = {"", "nan", "NaN", "NA", "N/A", "<NA>", "None", "none", "-1"}
"""What missing values become as text or as an integer; as a clone they would be the largest of all."""


def read_clones(adata: ad.AnnData, clone_key: str, rows: Sequence[np.ndarray]) -> np.ndarray:
    """Clone of each cell by ``obs[clone_key]``: numbers from 0, -1 without a barcode; int64, shape ``(n_obs,)``.

    ``rows``: the positions of the cells of each time point. Cells of other times keep their clone, and are not counted
    when it is checked that clones can be followed.
    """
    check_name(clone_key, "clone_key")
    if clone_key not in adata.obs:
        msg = (
            f"Clone column {clone_key!r} not found in adata.obs. Available: {list(adata.obs.columns)}."
            f"{owners(adata, 'obs', clone_key)}"
        )
        raise KeyError(msg)
    column, where = adata.obs[clone_key], f"obs[{clone_key!r}]"
    if _is_float(column):
        msg = (
            f"{where} holds floating-point numbers; barcodes are categories, strings or integers. If these are whole "
            f"numbers with gaps, run `adata.obs[{clone_key!r}] = adata.obs[{clone_key!r}].astype('Int64')`."
        )
        raise TypeError(msg)
    barcodes = pd.Categorical(column).remove_unused_categories()
    codes = barcodes.codes.astype(np.int64)
    filler = [name for name in map(str, barcodes.categories) if name in NO_BARCODE]
    if filler:
        n = int(np.isin(codes, [k for k, name in enumerate(barcodes.categories) if str(name) in NO_BARCODE]).sum())
        msg = (
            f"{where} holds {filler} in {n} cells, which would be read as one clone. Set cells without a barcode to "
            "missing."
        )
        raise ValueError(msg)
    _check(codes, rows, where)
    return codes


def clone_names(adata: ad.AnnData, clone_key: str) -> np.ndarray:
    """What the numbers of `read_clones` stand for, as strings."""
    return pd.Categorical(adata.obs[clone_key]).remove_unused_categories().categories.astype(str).to_numpy(dtype=str)


def _is_float(column: pd.Series) -> bool:
    """Whether all values that are not missing are floating-point numbers; categories are labels whatever they hold."""
    if column.dtype != object:
        return pd.api.types.is_float_dtype(column)
    kinds = {type(value) for value in column.dropna()}
    return bool(kinds) and all(issubclass(kind, float | np.floating) for kind in kinds)


def _check(codes: np.ndarray, rows: Sequence[np.ndarray], where: str) -> None:
    """Refuse clones of which none can be followed."""
    found = [np.unique(codes[cells][codes[cells] >= 0], return_counts=True) for cells in rows]
    clones, n_times = np.unique(np.concatenate([seen for seen, _ in found]), return_counts=True)
    n_cells = sum(int(counts.sum()) for _, counts in found)
    if not n_cells:
        msg = f"{where} is missing in every cell of the {len(rows)} time points."
        raise ValueError(msg)
    if len(clones) == 1:
        msg = f"{where} holds one value in all {n_cells} cells that have any; clones cannot be told apart."
        raise ValueError(msg)
    if len(clones) == n_cells:
        msg = (
            f"{where} holds {n_cells} values in {n_cells} cells: every cell is a clone of its own. Name a column in "
            "which cells of one clone share a value."
        )
        raise ValueError(msg)
    if n_times.max() == 1:
        msg = (
            f"{where} holds {len(clones)} clones in {n_cells} cells, and none has cells at two time points. Clones "
            "must be seen at several times. Were barcodes renumbered at each time?"
        )
        raise ValueError(msg)
