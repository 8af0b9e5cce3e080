"""The matrix of expression, a few cells at a time: sparse, backed or dask, it is never held dense as a whole.

Other matrices with a row for each cell are cut in the same way.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np

from vgfm_sc._anndata.modalities import check_has_genes

BLOCK_NUMBERS = 2**24
"""Entries of the matrix read at once: 130 MB when they are dense."""

CONSTANT = 1e-10
"""Variance of a gene below this share of its squared mean is rounding."""

MOST_NAMED = 10
"""Genes that an error lists: data have thousands."""


class Moments(NamedTuple):
    """Of each gene over cells: ``mean``, and ``sd`` within groups of cells, 0 if constant there; shape ``(n_vars,)``.

    ``cross``: mean of its products with the ``k`` columns given, shape ``(n_vars, k)``.
    """

    mean: np.ndarray
    sd: np.ndarray
    cross: np.ndarray


def read_moments(
    adata: ad.AnnData,
    layer: str | None,
    cells: np.ndarray | None = None,
    columns: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Moments:
    """Moments of ``X`` or ``layers[layer]`` over ``cells`` (positions, increasing; `None` is all).

    ``columns``, shape ``(n, k)``, and ``groups``, numbers from 0 of shape ``(n,)``, have a row for each of the cells.
    """
    n = adata.n_obs if cells is None else len(cells)
    columns = np.empty((n, 0)) if columns is None else columns
    member = np.eye(1 if groups is None else groups.max() + 1)[np.zeros(n, dtype=int) if groups is None else groups]
    columns, k = np.hstack([columns, member]), columns.shape[1]
    squares, products = np.zeros(adata.n_vars), np.zeros((adata.n_vars, columns.shape[1]))
    for rows, block in read_expression(adata, layer, cells):
        squared = block.multiply(block) if hasattr(block, "multiply") else block * block
        squares += np.asarray(squared.sum(axis=0)).ravel()
        products += block.T @ columns[rows]
    totals, sizes = products[:, k:], member.sum(axis=0)
    mean = totals.sum(axis=1) / n
    variance = (squares - (totals**2 / sizes).sum(axis=1)) / n
    return Moments(mean, np.sqrt(np.where(variance > CONSTANT * mean**2, variance, 0)), products[:, :k] / n)


def read_expression(
    adata: ad.AnnData, layer: str | None, cells: np.ndarray | None = None
) -> Iterator[tuple[slice, Any]]:
    """``X`` or ``layers[layer]`` by row blocks, float64, dense or csr, and where in ``cells`` each block stands."""
    check_layer(adata, layer)
    matrix = adata.X if layer is None else adata.layers[layer]
    if getattr(matrix, "format", None) == "csc" and hasattr(matrix, "tocsr"):
        matrix = matrix.tocsr()  # to cut rows from columns, all of it is read for each block
    blocks = row_blocks(matrix) if cells is None else _cut(range(1, len(cells) + 1), adata.n_vars)
    for rows in blocks:
        block = matrix[rows if cells is None else cells[rows]]
        if hasattr(block, "compute"):
            block = block.compute()
        yield rows, block.tocsr().astype(np.float64) if hasattr(block, "tocsr") else np.asarray(block, dtype=float)


def row_blocks(matrix: Any) -> Iterator[slice]:
    """Rows of ``matrix``, shape ``(n, p)``, to read at once: of dask whole chunks, each of which is computed once."""
    chunked = hasattr(matrix, "compute")
    return _cut(np.cumsum(matrix.chunks[0]).tolist() if chunked else range(1, matrix.shape[0] + 1), matrix.shape[1])


def _cut(ends: Sequence[int], width: int) -> Iterator[slice]:
    """As many rows of ``width`` at once as `BLOCK_NUMBERS` allows, at least up to the first of ``ends``."""
    first, last, most = 0, 0, max(1, BLOCK_NUMBERS // max(1, width))
    while last < len(ends):
        last = max(last + 1, bisect.bisect_right(ends, first + most))
        yield slice(first, ends[last - 1])
        first = ends[last - 1]


def dense(block: Any) -> np.ndarray:
    """A block that was cut, as an array: dask and sparse become one."""
    for convert in ("compute", "toarray"):
        block = getattr(block, convert)() if hasattr(block, convert) else block
    return np.asarray(block)


def check_layer(adata: ad.AnnData, layer: str | None) -> None:
    """Refuse a matrix that is not there."""
    check_has_genes(adata)
    if layer is not None and layer not in adata.layers:
        msg = f"Layer {layer!r} not found in adata.layers. Available: {[k for k in adata.layers if k is not None]}."
        raise KeyError(msg)
    if layer is None and adata.X is None:
        msg = "adata.X is empty: there is no expression to read. Name a layer."
        raise ValueError(msg)


def gene_positions(adata: ad.AnnData, names: Sequence[str] | np.ndarray) -> np.ndarray:
    """Positions in ``var`` of the genes ``names``."""
    if not adata.var_names.is_unique:
        msg = "var_names are not unique. Run `adata.var_names_make_unique()` first."
        raise ValueError(msg)
    positions = adata.var_names.get_indexer_for(names)
    missing = [str(name) for name, position in zip(names, positions, strict=True) if position < 0]
    if missing:
        msg = f"{len(missing)} of {len(names)} genes are not in adata.var_names: {missing[:MOST_NAMED]}."
        raise KeyError(msg)
    return positions
