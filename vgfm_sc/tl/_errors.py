"""Error bars from the models of an ensemble: how far the model itself may be from the truth.

Models of an ensemble differ because their cells do. What all of them have in common does not show, such as a penalty
that makes growth of branches alike. Two things beside the models tell of it: what one model says of one place at two
times, and how much its values change over the surroundings of a cell, which it cannot tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vgfm_sc import _anndata
from vgfm_sc.core.neighbours import nearest
from vgfm_sc.core.reading.fates import SURROUNDINGS, variance_over_surroundings
from vgfm_sc.tl import _cells

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model

MOST_CELLS = 1000
"""Of a time point at whose places times are compared: a quantile over places needs no more."""

REACH = 1.5
"""How many times as far the cells of another time may be as those of a place's own: elsewhere models extrapolate."""

FEWEST_PLACES = 10
"""Places at which times are compared; fewer say nothing."""

WITHIN = 0.6827
"""Share of a normal distribution within one standard deviation."""


def expected(every: np.ndarray, x: np.ndarray, seed: int, factor: float = 1.0) -> np.ndarray:
    """Standard deviation of what the first of ``every`` model says of cells about the truth, shape ``(n, q)``.

    ``every``: values of each model, shape ``(n_models, n, q)``. ``x``: unitless positions, ``(n, d)``. The others are
    as far from the first as it is from the truth by the choice of cells, and ``factor`` times as far in all.
    """
    apart = np.square(every[1:] - every[0]).mean(axis=0)
    return np.sqrt(factor**2 * apart + variance_over_surroundings(x, every[0], seed))


def across_times(models: Sequence[Model], course: _anndata.Snapshots, seed: int) -> np.ndarray:
    """How growth at one place changes from a time to the next or the one before, shape ``(n_models, n_places)``.

    Places are those of cells near which there are cells at both times. None with one interval, whose plan says both.
    """
    changes, rng = [np.empty((len(models), 0))], np.random.default_rng(seed)
    some = [_cells.drawn(rows, MOST_CELLS, rng) for rows in course.rows]
    places, points = [course.x[rows] for rows in some], course.time_points
    unitless = [models[0].scaling.to_unitless(x) for x in places]
    last = len(points) - 1 if len(points) > 2 else 0
    for here, there in [pair for k in range(last) for pair in ((k, k + 1), (k + 1, k))]:
        if min(len(places[here]), len(places[there])) < SURROUNDINGS:
            continue
        own, other = (nearest(unitless[here], unitless[at], SURROUNDINGS)[0][:, -1] for at in (here, there))
        met = places[here][other < REACH * own]
        if len(met):
            changes.append(np.stack([model(points[there], met)[1] - model(points[here], met)[1] for model in models]))
    return np.concatenate(changes, axis=1)


def factor(changes: np.ndarray) -> float | None:
    """How many times as much the first model changes as the others change otherwise, `None` if that is not known.

    ``changes``: as of `across_times`. Where growth is one of the state, all change is error. What is due to the choice
    of cells, the others show in the same changes. The factor is such that 68% of the places are within.
    """
    spread = np.square(changes[1:] - changes[0]).mean(axis=0)
    known = spread > 0
    if known.sum() < FEWEST_PLACES:
        return None
    return float(np.sqrt(np.quantile(np.square(changes[0, known]) / spread[known], WITHIN)))
