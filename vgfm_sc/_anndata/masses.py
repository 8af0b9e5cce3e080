"""What the user says of population sizes and growth: totals of the time points, expected rates of the cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.conditions import Conditions
from vgfm_sc._time import SAME_TIME, meant

COUNTS = "counts"
"""Each cell counts as mass 1."""

EQUAL = "equal"
"""Every time point has the same total: what numbers of cells say nothing about."""

WIDEST = 50.0
"""Log ratio of expected descendants within a time point, or of totals; beyond e^50 something is in the wrong unit."""


def read_given(
    adata: ad.AnnData,
    mass: str | Mapping[Any, float],
    time: np.ndarray,
    time_points: np.ndarray,
    labels: Mapping[str, float] | None,
) -> np.ndarray | None:
    """Total of each time point, shape ``(n_time_points,)``; `None` where counts are to be taken."""
    if isinstance(mass, str):
        if mass == COUNTS:
            return None
        totals = np.ones(len(time_points)) if mass == EQUAL else _of_column(adata, mass, time, time_points)
    elif isinstance(mass, Mapping):
        totals = _of_mapping(mass, time_points, labels)
    else:
        msg = f"mass must be 'counts', 'equal', {{time: total}} or a column of obs, got {type(mass).__name__}."
        raise TypeError(msg)
    check_totals(totals, time_points)
    return totals


def check_totals(totals: np.ndarray, time_points: np.ndarray) -> None:
    """Refuse totals that cannot be used; both of shape ``(n,)``."""
    bad = {f"{t:g}": float(total) for t, total in zip(time_points, totals, strict=True) if not 0 < total < np.inf}
    if bad:
        msg = f"Totals must be positive and finite, got (time: total) {bad}."
        raise ValueError(msg)
    if np.ptp(np.log(totals)) > WIDEST:
        msg = f"Totals from {totals.min():g} to {totals.max():g} are too far apart to model. Give all in one unit."
        raise ValueError(msg)


def read_given_by_condition(
    adata: ad.AnnData,
    mass: str | Mapping[Any, Any],
    time: np.ndarray,
    time_points: np.ndarray,
    labels: Mapping[str, float] | None,
    conditions: Conditions,
) -> np.ndarray | None:
    """As `read_given`, a row for each condition, NaN at times that it does not go through.

    Where a column holds the totals, a condition without cells at the first time has the mean total of the others there.
    """
    if isinstance(mass, str) and mass == COUNTS:
        return None
    mass = {str(name): own for name, own in mass.items()} if isinstance(mass, Mapping) else mass
    if isinstance(mass, Mapping) and set(mass) != set(conditions.names):
        msg = (
            f"With condition_key, mass names totals for each condition, {{condition: {{time: total}}}}. Conditions: "
            f"{conditions.names}; got {list(mass)}."
        )
        raise ValueError(msg)
    given = np.full(conditions.sampled.shape, np.nan)
    for k, name in enumerate(conditions.names):
        own = mass[name] if isinstance(mass, Mapping) else mass
        if isinstance(mass, Mapping) and not isinstance(own, Mapping):
            msg = f"mass[{name!r}] must be {{time: total}}, got {own!r}."
            raise TypeError(msg)
        of_column = isinstance(own, str) and own != EQUAL
        at = np.flatnonzero(conditions.sampled[k]) if of_column else conditions.passed(k)
        cells = conditions.codes == k
        try:
            given[k, at] = read_given(adata, own, np.where(cells, time, np.nan), time_points[at], labels)
        except (KeyError, TypeError, ValueError) as error:
            error.add_note(f"Of condition {name!r}.")
            raise
    given[:, 0] = np.where(np.isnan(given[:, 0]), np.nanmean(given[:, 0]), given[:, 0])
    return given


def _of_column(adata: ad.AnnData, name: str, time: np.ndarray, time_points: np.ndarray) -> np.ndarray:
    values = read_numbers(adata, name, "mass")
    seen = [np.unique(values[time == t]) for t in time_points]
    many = {f"{t:g}": len(v) for t, v in zip(time_points, seen, strict=True) if len(v) > 1}
    if many:
        msg = f"obs[{name!r}] must hold one total for each time point; it has several (time: values): {many}."
        raise ValueError(msg)
    return np.concatenate(seen)


def _of_mapping(mass: Mapping[Any, float], time_points: np.ndarray, labels: Mapping[str, float] | None) -> np.ndarray:
    totals, others = np.full(len(time_points), np.nan), []
    named = np.zeros(len(time_points), dtype=bool)
    for label, total in mass.items():
        off = np.abs(time_points - _time(label, labels, time_points))
        k = int(off.argmin())
        if not off[k] <= SAME_TIME * np.ptp(time_points) or named[k]:
            others.append(label)
            continue
        named[k] = True
        try:
            totals[k] = np.nan if isinstance(total, bool) else float(total)
        except (TypeError, ValueError) as error:
            msg = f"mass must give a number for each time point, got {total!r} for {label!r}."
            raise TypeError(msg) from error
    if others or not named.all():
        msg = (
            f"mass needs one total for each of the time points {time_points.tolist()}. Without a total: "
            f"{time_points[~named].tolist()}; not one of them, or named twice: {others}."
        )
        raise ValueError(msg)
    return totals


def _time(label: Any, labels: Mapping[str, float] | None, time_points: np.ndarray) -> float:
    """The time that a key of ``mass`` means, NaN if it means none; columns of times may hold numeric strings."""
    time = meant(label, "mass", labels, time_points)
    if time is None and isinstance(label, str):
        try:
            return float(label)
        except ValueError:
            return np.nan
    return np.nan if time is None else time


def read_prior(
    adata: ad.AnnData, name: str, time: np.ndarray, time_points: np.ndarray, *, both_ends: bool = False
) -> np.ndarray:
    """``obs[name]``, the growth expected of each cell per unit of time, shape ``(n_obs,)``.

    ``both_ends``: whether an interval goes by the cells at its end too, and not by those at its start alone.
    """
    if not isinstance(name, str):
        msg = f"growth_prior must be a column of obs or None, got {type(name).__name__}."
        raise TypeError(msg)
    rate = read_numbers(adata, name, "growth_prior")
    for t, later in zip(time_points[:-1], time_points[1:], strict=True):
        spread = float(np.ptp(rate[time == t])) * float(later - t)
        if spread > WIDEST:
            msg = (
                f"obs[{name!r}] expects some cells at {t:g} to have e^{spread:.0f} times as many descendants at "
                f"{later:g} as others. It is read as a rate per unit of time; "
                "`vgfm_sc.tl.growth_prior` turns scores into rates."
            )
            raise ValueError(msg)
        spread = float(np.ptp(rate[time == later])) * float(later - t)
        if both_ends and spread > WIDEST:
            msg = (
                f"obs[{name!r}] expects some cells at {later:g} to have multiplied e^{spread:.0f} times as much since "
                f"{t:g} as others. It is read as a rate per unit of time; "
                "`vgfm_sc.tl.growth_prior` turns scores into rates."
            )
            raise ValueError(msg)
    return rate


def read_numbers(adata: ad.AnnData, name: str, argument: str) -> np.ndarray:
    """A column of ``obs`` without gaps, float64, shape ``(n_obs,)``."""
    if name not in adata.obs:
        msg = f"{argument}={name!r} not found in adata.obs. Available: {list(adata.obs.columns)}."
        raise KeyError(msg)
    column = adata.obs[name]
    if not pd.api.types.is_numeric_dtype(column) or column.dtype.kind in "bc":
        msg = f"obs[{name!r}] is of type {column.dtype}; numbers are needed."
        raise TypeError(msg)
    values = column.to_numpy(dtype=float, na_value=np.nan)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        msg = f"obs[{name!r}] is missing or infinite for {bad} of {len(values)} cells. Fill it or drop those cells."
        raise ValueError(msg)
    return values
