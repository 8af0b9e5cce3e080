"""Whether a candidate is better than the default by more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vgfm_sc.core.reading.distances import energy_distance, energy_floor
from vgfm_sc.core.reading.paired import difference, influence

STANDARD_ERRORS = 2.0
"""By so many a gain must exceed 0: about one in forty does by chance."""

LEAST_GAIN = 0.03
"""Share of the error of the nearest snapshot below which a gain is too small to leave the default for."""


class Judged(NamedTuple):
    """Of one time point left out, each by candidate.

    ``score``: energy distance over that of the nearest snapshot. ``gain``: by how much it is below that of the first
    candidate; ``error``: the standard error of that over samples of cells.
    """

    score: dict[str, float]
    gain: dict[str, float]
    error: dict[str, float]


def judged(
    predictions: Mapping[str, tuple[np.ndarray, np.ndarray]],
    nearest: np.ndarray,
    observed: np.ndarray,
    rng: np.random.Generator,
) -> Judged:
    """Predictions of the same cells ``observed``, shape ``(m, d)``, from the same starting cells in the same order.

    ``nearest``, shape ``(n, d)``: the cells of the nearest snapshot. Where these are as near as another sample of the
    observed cells would be, what such samples vary by takes the place of their distance.
    """
    scale = float(np.fmax(energy_distance(nearest, observed), energy_floor(observed, np.ones(len(nearest)), rng)))
    found = {name: influence(x, observed, mass) for name, (x, mass) in predictions.items()}
    first = next(iter(found.values()))
    paired = {name: difference(first, other) for name, other in found.items()}
    return Judged(
        {name: energy_distance(x, observed, mass) / scale for name, (x, mass) in predictions.items()},
        {name: gain / scale for name, (gain, _) in paired.items()},
        {name: error / scale for name, (_, error) in paired.items()},
    )


def table(times: Sequence[Judged]) -> pd.DataFrame:
    """A row for each candidate: mean score, mean gain over the first and its standard error, and which is chosen.

    Two or three time points are too few for a standard error over time points. Instead a candidate must do no harm: at
    no time point may it be worse than the first by more than chance.
    """
    names = list(times[0].score)
    score, gain, error = (
        np.array([[getattr(time, what)[name] for time in times] for name in names])
        for what in ("score", "gain", "error")
    )
    found = pd.DataFrame({"candidate": names, "score": score.mean(axis=1), "gain": gain.mean(axis=1)})
    found["error"] = np.sqrt((error**2).sum(axis=1)) / len(times)
    harm = (-gain > np.maximum(STANDARD_ERRORS * error, LEAST_GAIN)).any(axis=1)
    better = ~harm & (found["gain"] > np.maximum(STANDARD_ERRORS * found["error"], LEAST_GAIN))
    best = int(found["gain"].where(better).argmax()) if better.any() else 0
    found["better"], found["chosen"] = better, np.arange(len(names)) == best
    return found


def reason(table: pd.DataFrame, n_times: int) -> str:
    """Why the candidate was chosen, in a sentence or two."""
    default, best = table.iloc[0], table[table["chosen"]].iloc[0]
    where = f"over {n_times} time point{'s' if n_times > 1 else ''} left out"
    if best["candidate"] == default["candidate"]:
        said = f"Kept {default['candidate']!r}: no other candidate is better by more than chance {where}."
        if len(table) > 1:
            other = table.iloc[1:].sort_values("gain", ascending=False).iloc[0]
            said += (
                f" The nearest is {other['candidate']!r}, with a gain of {other['gain']:.3f} +- {other['error']:.3f}."
            )
    else:
        said = (
            f"Chose {best['candidate']!r}: its gain over {default['candidate']!r} is {best['gain']:.3f} +- "
            f"{best['error']:.3f} {where}, as a share of the error of the nearest snapshot."
        )
    if best["score"] >= 1:
        said += " It predicts no better than the nearest snapshot: the times are too far apart to compare methods."
    return said
