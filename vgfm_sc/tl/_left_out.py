"""Which time points can be left out, and what the models of the others are told of their cells."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata
from vgfm_sc.methods import Method
from vgfm_sc.tl import _cells, _compared

CENTRED = 1e-3
"""Offset of a mean, as a share of the spread, below which a representation counts as centred on those cells."""

APART = 3
"""Places between time points that one fit is without: two that stay lie between them, so no two gaps meet."""


def check_fit_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of `fit` that have no meaning where a table is returned."""
    if "method" in arguments:  # `holdout` has a parameter of that name
        msg = (
            "tl.choose does not accept method: it takes its methods as candidates, a list or a mapping of names to "
            "methods."
        )
        raise TypeError(msg)
    if "condition_key" in arguments:  # `holdout` has a parameter of that name
        key = arguments["condition_key"]
        msg = (
            "tl.choose does not take condition_key. Pass the cells of one condition, "
            f"adata[adata.obs[{key!r}] == ...].copy()."
        )
        raise TypeError(msg)
    useless = sorted({"copy", "n_models"} & set(arguments))
    if useless:
        msg = f"Leaving time points out returns a table and does not accept {', '.join(useless)}."
        raise TypeError(msg)


def between_others(snapshots: _anndata.Snapshots, times: Any) -> np.ndarray:
    """Positions of the time points to leave out; with ``times`` `None`, of all that can be."""
    points = snapshots.time_points
    if len(points) < 3:
        msg = f"Leaving a time point out needs at least three, found {points.tolist()}."
        raise ValueError(msg)
    inner = _inner(snapshots)
    if times is None and len(inner):
        return inner
    if times is None:
        msg = f"No time point of {points.tolist()} lies between others in every condition."
        raise ValueError(msg)
    wanted = _cells.numbers(times, "times", snapshots)
    nearest = np.abs(points[None] - wanted[:, None]).argmin(axis=1)
    off = np.abs(points[nearest] - wanted) > _anndata.SAME_TIME * np.ptp(points)
    wrong = off | ~np.isin(nearest, inner)
    if wrong.any() or not len(wanted):
        msg = (
            f"times={wanted.tolist()} cannot be left out; only time points between others can: "
            f"{points[inner].tolist()}."
        )
        raise ValueError(msg)
    return np.unique(nearest)


def _inner(snapshots: _anndata.Snapshots) -> np.ndarray:
    """Places of the time points between others, where there are conditions in the course of each."""
    inner = np.arange(1, len(snapshots.time_points) - 1)
    if snapshots.conditions is None:
        return inner
    sampled = snapshots.conditions.sampled
    return inner[[sampled[:, k].all() and sampled[:, k + 1 :].any(axis=1).all() for k in inner]]


def told(
    adata: AnnData,
    snapshots: _anndata.Snapshots,
    methods: Mapping[str, Method],
    growth_prior: str | None,
    clone_key: str | None,
) -> dict[str, dict[str, np.ndarray]]:
    """Prior growth and clones of all cells, by the argument of `fit`, for each of ``methods`` that takes them."""
    known: dict[str, dict[str, np.ndarray]] = {name: {} for name in methods}
    if growth_prior is not None:
        takers = _compared.taking_prior(methods)
        prior = _anndata.read_prior(adata, growth_prior, snapshots.time, snapshots.time_points)
        for name in takers:
            known[name]["growth_prior"] = prior
    if clone_key is not None:
        takers = _compared.taking_clones(methods)
        clones = _anndata.read_clones(adata, clone_key, snapshots.rows)
        for name in takers:
            known[name]["clone_key"] = clones
    return known


def warn_if_seen(representation: _anndata.Representation, snapshots: _anndata.Snapshots, left_out: np.ndarray) -> None:
    """Warn, at the line that called the tool, of a representation that was fitted on the cells left out too."""
    if has_seen(snapshots.x, np.isin(snapshots.time, snapshots.time_points[left_out])):
        msg = (
            f"{representation.where} is centred on all cells, including those left out, so it has seen what the fit is "
            "to predict. For a strict comparison, compute it on the other time points and project these cells."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)


def has_seen(x: np.ndarray, out: np.ndarray) -> bool:
    """Whether ``x`` is centred on all cells and not on those kept: so are principal components fitted on all."""
    spread = np.sqrt(x.var(axis=0).sum())
    return bool(np.linalg.norm(x.mean(axis=0)) < CENTRED * spread <= np.linalg.norm(x[~out].mean(axis=0)))


def groups(positions: Iterable[int]) -> list[list[int]]:
    """Time points at ``positions`` in groups, each of which one fit can be without."""
    found: list[list[int]] = []
    for k in sorted(int(k) for k in positions):
        for group in found:
            if k - group[-1] >= APART:
                group.append(k)
                break
        else:
            found.append([k])
    return found
