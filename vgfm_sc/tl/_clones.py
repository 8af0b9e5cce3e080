"""The parts of the comparison with clones: cells counted, intervals, fates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

from vgfm_sc import _anndata
from vgfm_sc.core.reading import clones

COLUMNS = ["of", "time", "to", "cluster", "score", "value", "shuffled", "shuffled_sd", "n_cells", "n_clones"]


class Cells(NamedTuple):
    """Cells and their clones: ``codes``, -1 without, shape ``(n_obs,)``, and the ``names`` that they stand for."""

    sampling: _anndata.Sampling
    codes: np.ndarray
    names: np.ndarray
    n_shuffles: int
    seed: int

    def by_time(self) -> list[np.ndarray]:
        """Clones of the cells of each time point."""
        return [self.codes[rows] for rows in self.sampling.rows]

    def shuffled(self, scores: Any, codes: Sequence[np.ndarray], part: int) -> clones.Scores:
        """The scores with clones permuted; every ``part`` has a generator of its own."""
        return clones.shuffled(scores, codes, self.n_shuffles, np.random.default_rng([self.seed, part]))


class Ends(NamedTuple):
    """Fates: ``probabilities``, shape ``(n_obs, q)``, the clusters' ``names``, and those of the last cells, -1 without.

    ``last``: shape ``(n_last,)``.
    """

    probabilities: np.ndarray
    names: list[str]
    last: np.ndarray


@dataclass
class Part:
    """``rows`` of the table, ``tables`` for the plot, and what to warn of."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_ends(adata: AnnData, key: str, sampling: _anndata.Sampling) -> Ends | None:
    """The fates that `tl.fate` wrote; `None` if it has not been run."""
    about = _anndata.read_result(adata, key).get("fate")
    if about is None or f"{key}_fate" not in adata.obsm:
        return None
    names = [str(name) for name in about["clusters"]]
    column = _anndata.read_categories(adata, str(about["cluster_key"]))[sampling.rows[-1]]
    place = {name: k for k, name in enumerate(names)}
    of_category = np.asarray([place.get(str(category), -1) for category in column.categories] + [-1])
    return Ends(_anndata.read_fate(adata, key).to_numpy(dtype=float), names, of_category[column.codes])


def counted(cells: Cells) -> Part:
    """Cells that have no barcode, and those of clones at one time point only, by time and in all."""
    codes = cells.by_time()
    seen = [np.unique(part[part >= 0]) for part in codes]
    known, n_times = np.unique(np.concatenate(seen), return_counts=True)
    alone = known[n_times == 1]
    part = Part()
    whole = [*zip(cells.sampling.time_points, codes, strict=True), (np.nan, np.concatenate(codes))]
    for time, here in whole:
        at_one = here[np.isin(here, alone)]
        size: dict[str, Any] = {"n_cells": len(here), "n_clones": len(np.unique(at_one))}
        for score, n in (("without", (here < 0).sum()), ("one_time", len(at_one))):
            part.rows.append(_row("barcodes", score, n, time=time, **size))
    return part


def told(left_out: Part) -> str:
    """The last rows of `counted` in words."""
    without, one_time = left_out.rows[-2:]
    return (
        f"{without['value']:.0f} of {without['n_cells']} cells without a barcode, and {one_time['value']:.0f} cells of "
        f"{one_time['n_clones']} clones at one time point only"
    )


def over_intervals(cells: Cells, plans: Mapping[tuple[float, float], csr_matrix], mass: np.ndarray) -> list[Part]:
    """Descendants and growth, over each interval that has a plan."""
    points, codes, found = cells.sampling.time_points, cells.by_time(), []
    for k in range(len(points) - 1):
        plan = plans.get((float(points[k]), float(points[k + 1])))
        if plan is None:
            continue
        here = {"time": float(points[k]), "to": float(points[k + 1])}
        part = _descendants(cells, plan, codes[k : k + 2], here, 3 * k)
        growth = _growth(cells, mass[cells.sampling.rows[k]], k, here)
        if not part.rows:
            message = f"No clone has cells at both {here['time']:g} and {here['to']:g}: nothing is compared there."
            part.warnings.append(message)
        found += [part, growth]
    return found


def _descendants(cells: Cells, plan: csr_matrix, codes: list[np.ndarray], here: dict[str, float], part: int) -> Part:
    held_out = [plan.getnnz(axis=axis) == 0 for axis in (1, 0)]
    codes = [np.where(out, -1, part) for out, part in zip(held_out, codes, strict=True)]
    rows, both = clones.followed(*codes)
    if not len(both):
        return Part()
    arrived = np.asarray(plan.sum(axis=0), dtype=float).ravel()
    compared = plan[rows[0]][:, rows[1]]
    compared.eliminate_zeros()
    scores = clones.Descent(compared, arrived[rows[1]])
    numbers = _numbers(codes, rows, both)
    found, chance = scores(*numbers), cells.shuffled(scores, numbers, part)
    size = {"n_cells": len(rows[0]), "n_clones": len(both)}
    return Part([_row("descendants", name, found[name], chance[name], **here, **size) for name in found])


def _growth(cells: Cells, mass: np.ndarray, k: int, here: dict[str, float]) -> Part:
    earlier, later = cells.by_time()[k : k + 2]
    codes, totals = [np.where(mass > 0, earlier, -1), later], cells.sampling.totals  # cells held out have no mass
    rows, both = clones.followed(*codes)
    if not len(both):
        return Part()
    barcoded = [int((part >= 0).sum()) for part in codes]
    scores = clones.Growth(mass[rows[0]], float(np.log(totals[k + 1] / barcoded[1]) - np.log(totals[k] / barcoded[0])))
    numbers = _numbers(codes, rows, both)
    found, chance = scores(*numbers), cells.shuffled(scores, numbers, 3 * k + 1)
    size = {"n_cells": len(rows[0]), "n_clones": len(both)}
    table = pd.DataFrame(
        {
            "clone": cells.names[both].astype(object),
            **here,
            "n_cells": np.bincount(numbers[0]),
            "n_cells_later": np.bincount(numbers[1]),
            "predicted": found["predicted"],
            "observed": found["observed"],
            "shuffled": chance["predicted"][0],
        }
    )
    scored = [_row("growth", name, found[name], chance[name], **here, **size) for name in ("pearson", "spearman")]
    return Part(scored, {"growth": table})


def of_fates(cells: Cells, ends: Ends) -> Part:
    """Fates against where the clones end."""
    *before, last = cells.by_time()
    rows, both = clones.followed(np.concatenate(before), np.where(ends.last >= 0, last, -1))
    if not len(both):
        message = (
            "No clone has cells with a cluster at the last time point and cells before it: fates are not compared."
        )
        return Part(warnings=[message])
    chosen = [np.flatnonzero(np.isin(part, both)) for part in before]
    numbers = _numbers([*before, last], [*chosen, rows[1]], both)
    places = [cells.sampling.rows[k][some] for k, some in enumerate(chosen)]
    *earlier, end = numbers
    shares = clones.clone_shares(end, ends.last[rows[1]], len(ends.names))
    scores = clones.Fates([ends.probabilities[some] for some in places], shares)
    found, chance = scores(*earlier), cells.shuffled(scores, earlier, 2)
    part, to = Part(), float(cells.sampling.time_points[-1])
    for k, time in enumerate([*cells.sampling.time_points[:-1], np.nan]):
        here = earlier[k] if k < len(earlier) else np.concatenate(earlier)
        size: dict[str, Any] = {"n_cells": len(here), "n_clones": len(np.unique(here))}
        for q, name in enumerate(ends.names if len(here) else []):
            for score in ("pearson", "auroc", "predicted", "observed", "ece"):
                values = found[score][k, q], chance[score][:, k, q]
                part.rows.append(_row("fates", score, *values, time=time, to=to, cluster=name, **size))
    n_cells, n_last = (np.bincount(codes) for codes in (np.concatenate(earlier), end))
    q = len(ends.names)
    part.tables["fates"] = pd.DataFrame(
        {
            "clone": np.repeat(cells.names[both].astype(object), q),
            "cluster": np.tile(np.asarray(ends.names, dtype=object), len(both)),
            "n_cells": np.repeat(n_cells, q),
            "n_cells_last": np.repeat(n_last, q),
            "predicted": found["clone_predicted"].ravel(),
            "observed": shares.ravel(),
            "shuffled": chance["clone_predicted"][0].ravel(),
        }
    )
    filled = found["bin_cells"] > 0
    which, cluster = np.nonzero(filled)
    part.tables["calibration"] = pd.DataFrame(
        {
            "cluster": np.asarray(ends.names, dtype=object)[cluster],
            "tenth": which,
            "n_cells": found["bin_cells"][filled],
            "predicted": found["bin_predicted"][filled],
            "observed": found["bin_observed"][filled],
            "shuffled": chance["bin_observed"].mean(axis=0)[filled],
        }
    )
    return part


def joined(parts: Sequence[Part]) -> dict[str, pd.DataFrame]:
    """The tables of all parts by name."""
    names = dict.fromkeys(name for part in parts for name in part.tables)
    return {
        name: pd.concat([part.tables[name] for part in parts if name in part.tables], ignore_index=True)
        for name in names
    }


def _numbers(codes: Sequence[np.ndarray], rows: Sequence[np.ndarray], both: np.ndarray) -> list[np.ndarray]:
    """Clones of the cells compared as places in ``both``."""
    return [np.searchsorted(both, part[some]) for part, some in zip(codes, rows, strict=True)]


def _row(of: str, score: str, value: Any, chance: np.ndarray | None = None, **about: Any) -> dict[str, Any]:
    """A row of the table; ``chance`` holds the score of each permutation."""
    mean = sd = np.nan
    if chance is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # no permutation has the score
            mean, sd = float(np.nanmean(chance)), float(np.nanstd(chance))
    found = {"of": of, "score": score, "value": float(value), "shuffled": mean, "shuffled_sd": sd}
    return {"to": np.nan, "cluster": "", **found, **about}
