"""Growth expected from scores of births and deaths, and its scale where totals are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logsumexp

LEAST, MOST = 0.3, 1.7
"""Rates of birth and of death between which a score moves a cell, per day, as in wot."""

BIRTH, DEATH = (0.25, 0.5), (0.1, 0.2)
"""Score at which the rate is halfway between the two, and width of the scores over which it rises, as in wot."""

MOST_LOG = 50.0
"""Log of the descendants of a cell at the largest scale that is tried; e^50 is no number of cells."""

N_SCALES = 200
"""Scales tried from 0 to that one before the best is refined; the misfit may have more than one minimum."""

NO_SCALE = 1e-5
"""Share of the largest scale below which it is 0."""


class Scale(NamedTuple):
    """``value``, at least 0; ``expected``: the log ratios of totals that it expects, shape ``(n_intervals,)``."""

    value: float
    expected: np.ndarray


def net_rates(proliferation: np.ndarray, apoptosis: np.ndarray | None) -> np.ndarray:
    """Births minus deaths per day by the scores of the cells, shape ``(n,)``.

    Without ``apoptosis`` no deaths are known, and a cell without signs of proliferation keeps its size.
    """
    return _rate(proliferation, *BIRTH) - (LEAST if apoptosis is None else _rate(apoptosis, *DEATH))


def _rate(score: np.ndarray, centre: float, width: float) -> np.ndarray:
    return LEAST + (MOST - LEAST) * expit(4 * (score - centre) / width)


def expected_log_ratios(rates: Sequence[np.ndarray], dt: np.ndarray) -> np.ndarray:
    """Log of the mean growth of the cells of each interval's start, which hold equal mass, over its length ``dt``."""
    return np.asarray([logsumexp(rate * h) - np.log(len(rate)) for rate, h in zip(rates, dt, strict=True)])


def learnt_scale(rates: Sequence[np.ndarray], dt: np.ndarray, log_ratios: np.ndarray) -> Scale:
    """The factor of ``rates`` at which the totals they expect come closest to those known, least squares in logs.

    ``rates``: of the cells at the start of each interval. ``log_ratios``: known, of its totals, as ``dt`` of shape
    ``(n_intervals,)``.
    """
    fastest = max(float(np.abs(rate).max()) * h for rate, h in zip(rates, dt, strict=True))
    if fastest == 0:
        return Scale(0.0, np.zeros(len(dt)))

    def misfit(scale: float) -> float:
        return float(((expected_log_ratios([scale * rate for rate in rates], dt) - log_ratios) ** 2).sum())

    from scipy.optimize import minimize_scalar  # a tenth of a second

    largest = MOST_LOG / fastest
    tried = np.append(0.0, largest * np.geomspace(NO_SCALE, 1, N_SCALES))
    best = int(np.argmin([misfit(scale) for scale in tried]))
    between = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    value = float(minimize_scalar(misfit, bounds=between, method="bounded", options={"xatol": 1e-6 * between[1]}).x)
    value = 0.0 if best == 0 or value <= NO_SCALE * largest else value
    return Scale(value, expected_log_ratios([value * rate for rate in rates], dt))


def alike_log_ratios(log_ratios: np.ndarray, dt: np.ndarray) -> np.ndarray:
    """Log ratios of totals if all cells always grew at the one rate that meets those known best."""
    return dt * (dt @ log_ratios) / (dt @ dt)
