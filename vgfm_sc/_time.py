"""Sampling times from whatever a column of ``obs`` holds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

NOT_NUMBERS = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64, pd.Period)


def parse_time(column: pd.Series, name: str, time_map: Mapping[Any, float] | None = None) -> np.ndarray:
    """``column`` as float64, shape ``(n,)``; errors speak of ``name``."""
    values = column
    if isinstance(column.dtype, pd.CategoricalDtype):
        # codes that are missing have no place in an integer type
        values = column.astype(object if column.isna().any() else column.cat.categories.dtype)
    if time_map is not None:
        values = _mapped(values, name, time_map)
    seen = values.dropna().unique()
    if any(isinstance(value, bool | np.bool_) for value in seen):
        msg = f"{name} is boolean; times must be numbers."
        raise TypeError(msg)
    if values.dtype.kind in "mM" or any(isinstance(value, NOT_NUMBERS) for value in seen):
        kind = type(seen[0]).__name__ if values.dtype == object else values.dtype
        msg = (
            f"{name} holds values of type {kind}; times must be numbers, "
            "for example `(t - t.min()).dt.total_seconds() / 86400` for days."
        )
        raise TypeError(msg)
    if values.dtype.kind == "c":
        msg = f"{name} is complex; times must be real numbers."
        raise TypeError(msg)
    try:
        time = pd.to_numeric(values).to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError) as error:
        examples = [str(value) for value in seen[:5]]
        msg = f"{name} is not numeric (for example {examples}). Pass time_map={{value: number, ...}}."
        raise ValueError(msg) from error
    bad = int((~np.isfinite(time)).sum())
    if bad:
        msg = f"{name} is missing or infinite for {bad} of {len(time)} cells. Drop those cells first."
        raise ValueError(msg)
    return time


def _mapped(values: pd.Series, name: str, time_map: Mapping[Any, float]) -> pd.Series:
    if not isinstance(time_map, Mapping):
        msg = f"time_map must map values of {name} to numbers, {{value: number, ...}}; got {time_map!r}."
        raise TypeError(msg)
    unknown = sorted(str(value) for value in values.dropna().unique() if value not in time_map)
    if unknown:
        msg = f"time_map has no entry for these values of {name}: {unknown}."
        raise ValueError(msg)
    try:
        numbers = {value: float(time_map[value]) for value in values.dropna().unique()}
    except (TypeError, ValueError) as error:
        msg = f"time_map must give a number for each value, got {dict(time_map)}."
        raise TypeError(msg) from error
    return values.map(numbers).astype(float)
