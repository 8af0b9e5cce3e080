"""Sampling times from whatever a column of ``obs`` holds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

SAME_TIME = 1e-6
"""Share of the time course by which times may differ: those read from float32 are not quite the numbers people type."""

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


def meant(
    time: Any, name: str, labels: Mapping[str, float] | None, points: np.ndarray, *, between: bool = False
) -> float | None:
    """The time that a user means by ``time``; `None` if it is neither a label nor a number.

    A string is a label of ``time_map``. A number is a time; only if the course has no such time, it is the label
    written as that number. A number that could be both is refused. A time that differs from one of the sampling times
    ``points``, shape ``(n_time_points,)``, by rounding is returned as that one. With ``between``, every time within the
    course is one of its times.
    """
    labels = labels or {}
    if isinstance(time, str):
        return labels.get(time)
    if isinstance(time, bool | np.bool_) or time is None or np.ndim(time) or not np.isreal(time):
        return None
    number, near = float(time), SAME_TIME * np.ptp(points)
    nearest = float(points[np.abs(points - number).argmin()])
    sampled = abs(nearest - number) <= near
    number = nearest if sampled else number
    as_label = next((label for label in labels if _number(label) == float(time)), None)
    if as_label is None or abs(labels[as_label] - number) <= near:
        return number
    if not (sampled or (between and points[0] <= number <= points[-1])):
        return labels[as_label]
    other = next((f", {label!r} for time {t:g}" for label, t in labels.items() if abs(t - number) <= near), "")
    msg = (
        f"{name}: {time!r} is a label of time_map, for time {labels[as_label]:g}, and also a time of the course. Give "
        f"the label as a string: {as_label!r} for time {labels[as_label]:g}{other}."
    )
    raise ValueError(msg)


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None
