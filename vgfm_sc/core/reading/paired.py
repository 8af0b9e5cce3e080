"""Which of two predictions of the same cells is nearer to other cells, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist


class Influence(NamedTuple):
    """Energy distance between a prediction and the cells observed, and what it owes to each cell.

    ``energy``: unbiased, but for the mean distance among the cells observed, which all predictions of them share.
    ``of_predicted``, shape ``(n,)``, and ``of_observed``, shape ``(m,)``: first-order change as the weight of a cell
    rises, of mean 0.
    """

    energy: float
    of_predicted: np.ndarray
    of_observed: np.ndarray


def influence(x: np.ndarray, y: np.ndarray, mass: np.ndarray) -> Influence:
    """Of the energy distance between ``x``, shape ``(n, d)``, with weights ``mass`` and ``y``, shape ``(m, d)``."""
    p = mass / mass.sum()
    across, within = cdist(x, y), cdist(x, x) @ p
    of_x, of_y = across.mean(axis=1), p @ across
    between, among = float(p @ of_x), float(p @ within)
    return Influence(
        2 * between - among / (1 - float((p**2).sum())),
        2 * len(x) * p * ((of_x - between) - (within - among)),
        2 * (of_y - between),
    )


def difference(first: Influence, second: Influence) -> tuple[float, float]:
    """Energy distance of ``first`` less that of ``second``, and its standard error over samples of cells.

    Both predict the same cells ``y`` from the same starting cells in the same order. What chance adds to both cancels.
    """
    variance = 0.0
    for a, b in ((first.of_predicted, second.of_predicted), (first.of_observed, second.of_observed)):
        variance += float(((a - b) ** 2).sum()) / (len(a) * (len(a) - 1))
    return first.energy - second.energy, float(np.sqrt(variance))
