"""Scores of gene sets, by scanpy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata

logger = logging.getLogger(__name__)


class Scored(NamedTuple):
    """``values``: one score a cell, float64, shape ``(n_obs,)``; ``genes``: those it is of, none for a column."""

    values: np.ndarray
    genes: list[str]


class GeneSet(NamedTuple):
    """A column of ``obs`` that holds scores, or the ``genes`` to score; ``name`` is the argument that gave it."""

    name: str
    column: str | None
    genes: list[str]

    @classmethod
    def of(
        cls, adata: AnnData, name: str, given: Sequence[str] | str, earlier: Mapping[str, str], layer: str | None
    ) -> GeneSet:
        """What the user means by ``given``; tells which genes were not found."""
        if isinstance(given, str):
            _anndata.read_numbers(adata, given, name)
            return cls(name, given, [])
        symbols = list(dict.fromkeys(_anndata.names(given, f"A gene of {name}")))
        if not symbols:
            msg = f"{name} names no genes. Leave it out, or name some."
            raise ValueError(msg)
        found, missing = _anndata.read_symbols(adata, symbols, earlier, name, layer)
        if missing:
            logger.warning(
                "%d of %d genes of %s are not in adata.var_names and are ignored: %s",
                len(missing), len(symbols), name, ", ".join(missing),
            )  # fmt: skip
        return cls(name, None, found)

    def scored(self, adata: AnnData, layer: str | None, seed: int) -> Scored:
        """The scores; ``adata`` and the global random state stay as they are."""
        if self.column is not None:
            values = _anndata.read_numbers(adata, self.column, self.name)
        else:
            alone = _anndata.expression_alone(adata, layer)
            self._check_expression(_anndata.read_genes(alone, self.genes), layer)
            values = _by_scanpy(alone, self.genes, self.name, seed)
        if not np.ptp(values) > 0:
            msg = f"The score of {self.name} is the same in all cells ({values[0]:g}) and says nothing about growth."
            raise ValueError(msg)
        return Scored(values, self.genes)

    def _check_expression(self, x: np.ndarray, layer: str | None) -> None:
        where = "adata.X" if layer is None else f"layers[{layer!r}]"
        hollow = int((~np.isfinite(x)).any(axis=0).sum())
        if hollow:
            msg = f"{where} holds NaN or infinity in {hollow} of the {len(self.genes)} genes of {self.name}."
            raise ValueError(msg)
        if not np.ptp(x, axis=0).any():
            msg = f"None of the {len(self.genes)} genes of {self.name} varies in {where}: there is nothing to score."
            raise ValueError(msg)
        if (x >= 0).all() and (x == np.round(x)).all():
            msg = (
                f"{where} holds whole numbers, as counts are, so scores mostly reflect library size. Normalise and "
                "log-transform first (`sc.pp.normalize_total`, `sc.pp.log1p`)."
            )
            warnings.warn(msg, UserWarning, stacklevel=4)


def _by_scanpy(alone: Any, genes: list[str], name: str, seed: int) -> np.ndarray:
    import scanpy as sc  # takes seconds

    state = np.random.get_state()
    try:
        with np.errstate(all="ignore"):
            sc.tl.score_genes(alone, genes, score_name=name, random_state=seed % 2**32, use_raw=False)
        values = alone.obs[name].to_numpy(dtype=float)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        msg = _without_controls(alone, genes, name)
        raise ValueError(msg) from error
    finally:
        np.random.set_state(state)
    if not np.isfinite(values).all():
        raise ValueError(_without_controls(alone, genes, name))
    return values


def _without_controls(alone: Any, genes: list[str], name: str) -> str:
    return (
        f"scanpy.tl.score_genes cannot compare the {len(genes)} genes of {name} with others of similar expression "
        f"among the {alone.n_vars} of adata. Keep more genes in adata, or pass a score of your own: "
        f"{name}='<column of obs>'."
    )
