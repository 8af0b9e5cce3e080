"""Checks of numbers that users give, one wording for all."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

MOST_SEED = 2**63
"""Seeds are below: what every generator here takes."""


def whole(name: str, value: Any, *, least: int = 1) -> None:
    """Refuse what is not an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        msg = f"{name} must be an integer, got {value!r}."
        raise TypeError(msg)
    if value < least:
        msg = f"{name} must be {'positive' if least == 1 else f'at least {least}'}, got {value!r}."
        raise ValueError(msg)


def real(name: str, value: Any, *, zero: bool = False) -> None:
    """Refuse what is not a finite number above 0, or with ``zero`` of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real):
        msg = f"{name} must be a number, got {value!r}."
        raise TypeError(msg)
    if not 0 <= float(value) < math.inf or (value == 0 and not zero):
        msg = f"{name} must be {'at least 0' if zero else 'positive'} and finite, got {value!r}."
        raise ValueError(msg)


def seed(value: Any) -> None:
    """Refuse what cannot seed a generator."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        msg = f"seed must be an integer, got {value!r}."
        raise TypeError(msg)
    if not 0 <= int(value) < MOST_SEED:
        msg = f"seed must lie between 0 and 2**63, got {value!r}."
        raise ValueError(msg)
