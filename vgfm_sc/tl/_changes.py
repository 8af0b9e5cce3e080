"""What a call makes of genes, and whether the representation of the fit can carry it."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading.perturbation import Change, along

Wanted = float | str | tuple[str, float]
"""A value, ``"knockout"``, ``"overexpress"``, or a pair as `WAYS` has them."""

WAYS = ("set", "scale", "shift", "overexpress")
"""First of a pair; the second is a value, a factor, a difference or a quantile."""

HIGH = 0.99
"""Quantile that ``"overexpress"`` means: most genes are 0 in most cells, so that of 95% may be no expression."""

LEAST_CARRIED = 0.1
"""Share of a gene's variance below which the representation says next to nothing about it."""

NEAR = 0.05
"""Of the range of a gene: a value this little beyond it is as good as one that was seen."""

DEPENDENT = 1e-6
"""Smallest over largest singular value of the loadings below which genes cannot be changed one without another."""

GENES_AT_ONCE = 100
"""Genes whose expression is held at once, in all cells."""

MOST_NAMED = 10
"""Genes that a message lists."""

CLOSE_NAMES = 3
"""Names offered for one that is not there."""


class Genes(NamedTuple):
    """Genes by name, shape ``(p,)``, as the model sees them and as they are.

    ``weights``, shape ``(p, n_axes)``, ``level``, ``scale`` and ``shift``, ``(p,)``: as in `Change`. ``carried``: share
    of the variance over all cells that the representation carries, ``(p,)``. ``low``, ``high``: least and largest value
    of any cell, ``(p,)``. ``told``: in place of ``shift``, what the model is told, ``(p,)``.
    """

    names: list[str]
    weights: np.ndarray
    level: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    carried: np.ndarray
    low: np.ndarray
    high: np.ndarray
    told: np.ndarray


def read(adata: AnnData, genes: Mapping[str, Wanted], x: np.ndarray, scaling: Scaling, key: str) -> Genes:
    """The genes of the fit ``key`` and what is wanted of them; ``x``: positions of all cells, shape ``(n_obs, d)``."""
    names, loadings = list(genes), _anndata.read_loadings(adata, key)
    at = _places(adata, names, loadings, key)
    weights = loadings.along(scaling.axes, at)
    origin = loadings.mean + (scaling.centre if loadings.matrix is None else loadings.matrix @ scaling.centre)
    spread = (along(x, scaling) @ weights.T).std(axis=0)
    sd = loadings.sd[at]
    still = [name for name, of_all, of_rep in zip(names, sd, spread, strict=True) if not of_all * of_rep > 0]
    if still:
        msg = f"{still[:MOST_NAMED]} do not vary over the cells of the fit, so the model cannot say what they do."
        raise ValueError(msg)
    lines = []
    for first in range(0, len(names), GENES_AT_ONCE):
        some = names[first : first + GENES_AT_ONCE]
        seen = _anndata.read_genes(adata, some, loadings.layer)
        lines += [
            (*_line(genes[name], values), values.min(), values.max()) for name, values in zip(some, seen.T, strict=True)
        ]
    scale, shift, low, high = np.array(lines, dtype=float).T
    carried, told = np.minimum((spread / sd) ** 2, 1.0), shift
    if loadings.matrix is not None or scaling.axes is not None:
        mean = origin[at] + along(x, scaling).mean(axis=0) @ weights.T
        told = np.where([_in_words(genes[name]) for name in names], mean + carried * (shift - mean), shift)
    return Genes(names, weights, origin[at], scale, shift, carried, low, high, told)


def _places(adata: AnnData, names: list[str], loadings: _anndata.Loadings, key: str) -> np.ndarray:
    """Where the genes stand among those of the loadings."""
    known = [str(name) for name in adata.var_names[loadings.genes]]
    places = dict(zip(known, range(len(known)), strict=True))
    missing = [name for name in names if name not in places]
    there = [name for name in missing if name in adata.var_names]
    if there:
        msg = (
            f"{there[:MOST_NAMED]} were not part of the PCA or of the genes of the fit under {key!r}, so the model "
            f"cannot predict what they do. {len(known)} genes can be changed; run `sc.pp.pca` and `vgfm_sc.tl.fit` "
            "with more."
        )
        raise KeyError(msg)
    if missing:
        said = ", ".join(f"{name!r} (nearest: {_close(name, known)})" for name in missing[:MOST_NAMED])
        msg = f"{len(missing)} of {len(names)} genes are not in adata.var_names: {said}."
        raise KeyError(msg)
    return np.array([places[name] for name in names])


def _close(name: str, known: list[str]) -> list[str]:
    """Names like ``name``, whatever their case."""
    lower = {other.lower(): other for other in known}
    return [lower[found] for found in difflib.get_close_matches(name.lower(), list(lower), CLOSE_NAMES)]


def checked(genes: Any) -> dict[str, Wanted]:
    """``genes`` if it maps names to what can be made of a gene."""
    if not isinstance(genes, Mapping) or not genes or not all(isinstance(name, str) for name in genes):
        msg = (
            "genes must map names of genes to changes, such as {'GATA1': 'knockout'} or {'GATA1': 0.0}; got "
            f"{genes!r}."
        )
        raise TypeError(msg)
    for name, wanted in genes.items():
        check_wanted(wanted, f"genes[{name!r}]")
    return dict(genes)


def check_wanted(wanted: Any, argument: str) -> None:
    """Refuse what cannot be made of a gene."""
    pair = isinstance(wanted, (tuple, list)) and len(wanted) == 2 and wanted[0] in WAYS
    number = wanted[1] if pair else wanted
    if not (wanted in ("knockout", "overexpress") if isinstance(wanted, str) else _is_number(number)):
        msg = (
            f"{argument} must be a value, 'knockout', 'overexpress' or a pair such as ('set', 0.0), ('scale', 0.5), "
            f"('shift', 1.0), ('overexpress', {HIGH}); got {wanted!r}."
        )
        raise ValueError(msg)
    if pair and wanted[0] == "overexpress" and not 0 <= wanted[1] <= 1:
        msg = f"{argument}={wanted!r}: the quantile must lie between 0 and 1."
        raise ValueError(msg)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))


def change(genes: Genes, names: Sequence[str]) -> Change:
    """The change that makes of the genes ``names`` what is wanted of them."""
    at = [genes.names.index(name) for name in names]
    weights = genes.weights[at]
    size = np.linalg.svd(weights / np.linalg.norm(weights, axis=1, keepdims=True), compute_uv=False)
    if len(names) > weights.shape[1] or size[-1] < DEPENDENT * size[0]:
        msg = (
            f"{len(names)} genes cannot be changed at once: along the {weights.shape[1]} axes of the representation, "
            f"some of {list(names)[:MOST_NAMED]} always change together. Change fewer genes."
        )
        raise ValueError(msg)
    return Change(weights, genes.level[at], genes.scale[at], genes.told[at])


def _in_words(wanted: Wanted) -> bool:
    """Whether a state of cells is asked for, such as a knock-out, and not a value that the model is to see.

    In cells with some value of a gene, a representation that carries a part of its variance sees that part of how far
    the value is from the mean: the regression of what is seen on what is there. The value itself would lie as many
    standard deviations too far out as the part is small, where no cells are.
    """
    return isinstance(wanted, str) or (isinstance(wanted, (tuple, list)) and wanted[0] == "overexpress")


def _line(wanted: Wanted, seen: np.ndarray) -> tuple[float, float]:
    """Factor and summand of what becomes of a gene whose values in all cells are ``seen``."""
    if wanted == "knockout":  # no expression is 0, and the lowest value where expression was centred
        return 0.0, min(0.0, float(seen.min()))
    how, given = ("overexpress", HIGH) if wanted == "overexpress" else _pair(wanted)
    number = float(np.quantile(seen, given)) if how == "overexpress" else given
    return {"scale": (number, 0.0), "shift": (1.0, number)}.get(how, (0.0, number))


def _pair(wanted: Wanted) -> tuple[str, float]:
    how, number = wanted if isinstance(wanted, (tuple, list)) else ("set", wanted)
    return how, float(number)


def warn(genes: Genes, changes: Sequence[Change], x: np.ndarray, scaling: Scaling) -> None:
    """Warn of genes that the representation hardly carries, and of values that no cell has.

    ``changes``: one of all genes, or one for each. ``x``: starting cells, shape ``(n, d)``.
    """
    few = [
        f"{name} ({share:.0%})" for name, share in zip(genes.names, genes.carried, strict=True) if share < LEAST_CARRIED
    ]
    if few:
        msg = (
            f"The representation carries less than {LEAST_CARRIED:.0%} of the variance of {len(few)} genes: "
            f"{', '.join(few[:MOST_NAMED])}. Predicted effects of these genes mean little."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)
    now = np.hstack([change.values(x, scaling) for change in changes])
    wanted, moves = genes.scale * now + genes.shift, genes.scale != 0
    room = NEAR * (genes.high - genes.low)
    least, most = genes.low - room, genes.high + room
    beyond = ((wanted < least) & ~(moves & (now < least))) | ((wanted > most) & ~(moves & (now > most)))
    off = [
        f"{name} to {wanted[:, k].min():.3g}"
        + (f" to {wanted[:, k].max():.3g}" if np.ptp(wanted[:, k]) else "")
        + f" (seen: {genes.low[k]:.3g} to {genes.high[k]:.3g})"
        for k, name in enumerate(genes.names)
        if beyond[:, k].any()
    ]
    if off:
        msg = f"Values that no cell has: {', '.join(off[:MOST_NAMED])}. The model was not trained there."
        warnings.warn(msg, UserWarning, stacklevel=3)
