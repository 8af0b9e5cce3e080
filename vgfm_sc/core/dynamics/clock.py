"""A clock for training by which intervals of very unequal length pass more alike.

Time courses of a response are often sampled after minutes, hours and days, each time about as far along. Networks of
time itself would have to turn within the first hundredth of their input. Where the longest interval is more than `EVEN`
times the shortest, ticks take the place of time: intervals are raised to the power that makes their ratio `EVEN`, and
a cubic spline that runs smoothly from one to the next says how fast the clock goes in between. Up to that ratio the
clock is time, and nothing is changed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.interpolate import CubicHermiteSpline

EVEN = 4.0
"""Most that the longest interval may be of the shortest, in ticks."""

STEEPEST = 2.5
"""Most that the rate at a time point may be of the mean rates beside it: above about 2.8 a cubic may run backwards."""


def ticks(time_points: np.ndarray) -> np.ndarray | None:
    """Time points, shape ``(k,)``, and their ticks, of mean interval 1 and with 0 in the middle, as ``(2, k)``.

    `None` where the clock is time.
    """
    dt = np.diff(time_points)
    ratio = dt.max() / dt.min()
    if ratio <= EVEN:
        return None
    passed = np.exp(np.log(EVEN) / np.log(ratio) * np.log(dt))
    at = np.concatenate([[0.0], np.cumsum(passed / passed.mean())])
    return np.stack([time_points, at - at[-1] / 2])


def read(nodes: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Ticks at times ``t``; before and after the course the clock goes on as it does at its ends."""
    spline, first, last = _spline(nodes.tobytes())
    inside = np.clip(t, first, last)
    return spline(inside) + (t - inside) * spline(inside, 1)


def rate(nodes: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Ticks per unit of time at times ``t``."""
    spline, first, last = _spline(nodes.tobytes())
    return spline(np.clip(t, first, last), 1)


@lru_cache(maxsize=8)
def _spline(nodes: bytes) -> tuple[CubicHermiteSpline, float, float]:
    """At a time point the geometric mean of the rates beside it, at the ends the mean rate of the interval."""
    from scipy.interpolate import CubicHermiteSpline  # a tenth of a second, and few courses are so uneven

    times, at = np.frombuffer(nodes).reshape(2, -1)
    mean = np.diff(at) / np.diff(times)
    before, after = mean[:-1], mean[1:]
    inner = np.minimum(np.sqrt(before * after), STEEPEST * np.minimum(before, after))
    return CubicHermiteSpline(times, at, np.concatenate([mean[:1], inner, mean[-1:]])), times[0], times[-1]
