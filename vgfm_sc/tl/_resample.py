"""Cells held out of training, and cells drawn again for an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST = 2
"""Cells of a time point that can be coupled, or judged on."""


def held_out(
    rows: Sequence[np.ndarray], share: float, time_points: np.ndarray, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The cells of each time point, split at random into those to train on and a ``share`` to judge on."""
    rng = np.random.default_rng(seed)
    kept, out = [], []
    for cells, t in zip(rows, time_points, strict=True):
        n = round(share * len(cells))
        if n < FEWEST or len(cells) - n < FEWEST:
            msg = (
                f"validation={share:g} of the {len(cells)} cells at {t:g} leaves {n} to judge on and "
                f"{len(cells) - n} to train on; {FEWEST} of each are needed. Change validation, or drop the time point."
            )
            raise ValueError(msg)
        order = rng.permutation(len(cells))
        out.append(cells[np.sort(order[:n])])
        kept.append(cells[np.sort(order[n:])])
    return kept, out


def bootstrap(rows: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Each cell as often as a Poisson draw of mean 1 says: numbers of cells vary as counts do."""
    drawn = []
    for cells in rows:
        again = np.repeat(cells, rng.poisson(1.0, len(cells)))
        while len(np.unique(again)) < FEWEST:  # only with a handful of cells
            again = np.repeat(cells, rng.poisson(1.0, len(cells)))
        drawn.append(again)
    return drawn
