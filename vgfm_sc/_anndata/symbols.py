"""Genes by symbol, and expression as scanpy takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.expression import MOST_NAMED, check_layer


class Symbols(NamedTuple):
    """``found``: names in ``var``, none twice; ``missing``: symbols that no name in ``var`` is a spelling of."""

    found: list[str]
    missing: list[str]


def read_symbols(
    adata: ad.AnnData, symbols: Sequence[str], earlier: Mapping[str, str], argument: str, layer: str | None
) -> Symbols:
    """Names in ``var`` of genes given by ``symbols``, or by their ``earlier`` ones: ``MCM5`` also finds ``Mcm5``.

    A name spelt as asked for comes first. Refuses expression that is not there, and if no gene is found.
    """
    check_layer(adata, layer)
    if not adata.var_names.is_unique:
        msg = "var_names are not unique. Run `adata.var_names_make_unique()` first."
        raise ValueError(msg)
    there = dict.fromkeys(map(str, adata.var_names))
    spelt: dict[str, str] = {}
    for name in there:
        spelt.setdefault(name.casefold(), name)
    found: dict[str, None] = {}
    missing = []
    for symbol in symbols:
        tried = [symbol, *([earlier[symbol]] if symbol in earlier else [])]
        names = [name for name in tried if name in there]
        names += [spelt[name.casefold()] for name in tried if name.casefold() in spelt]
        if names:
            found[names[0]] = None
        else:
            missing.append(symbol)
    if not found:
        msg = (
            f"None of the {len(symbols)} genes of {argument} is in adata.var_names, whatever the case of the letters. "
            f"Searched: {list(symbols[:MOST_NAMED])}; there: {list(there)[:MOST_NAMED]}. If var_names are not "
            "symbols, set them to the column of var that holds the symbols."
        )
        raise KeyError(msg)
    return Symbols(list(found), missing)


def expression_alone(adata: ad.AnnData, layer: str | None) -> ad.AnnData:
    """``X`` or ``layers[layer]`` and the names of cells and genes, in memory; what is there already is not copied."""
    check_layer(adata, layer)
    matrix = adata.X if layer is None else adata.layers[layer]
    if hasattr(matrix, "compute"):
        matrix = matrix.compute()
    elif hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    elif adata.isbacked and not isinstance(matrix, np.ndarray):
        matrix = matrix[:]
    index = pd.RangeIndex(adata.n_obs).astype(str)
    return ad.AnnData(matrix, obs=pd.DataFrame(index=index), var=pd.DataFrame(index=adata.var_names.astype(str)))
