"""Two conditions of a fit: the cells at which they can be compared, their models, and how sure these are."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, get
from vgfm_sc.core.reading.comparison import Outcome, outcome
from vgfm_sc.core.reading.perturbation import Ends
from vgfm_sc.tl import _cells
from vgfm_sc.tl._model import models_and_cells

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model


class Two(NamedTuple):
    """Two conditions.

    ``snapshots``: all cells. ``courses``: those of each condition. ``models``: of both, by member of the ensemble.
    ``cells``: positions of those compared; of each of these ``codes``, the number of its condition, and ``clusters``,
    that of its cluster, -1 without one. ``names``: of clusters with cells. ``ends``, ``fates``: cells of the last time
    in a cluster, and the clusters there. ``times``: from the first to the last that both have. ``drawn``: how often
    each sample was drawn for each member, shape ``(r, n_samples)``, and ``samples``: that of each cell, ``(n_obs,)``;
    `None` if cells were drawn.
    ``freedom``: degrees of freedom of variances.
    """

    snapshots: _anndata.Snapshots
    courses: tuple[_anndata.Snapshots, _anndata.Snapshots]
    models: list[tuple[Model, Model]]
    cells: np.ndarray
    codes: np.ndarray
    clusters: np.ndarray
    names: list[str]
    ends: Ends
    fates: list[str]
    times: np.ndarray
    samples: np.ndarray | None
    drawn: np.ndarray | None
    freedom: float

    @property
    def time(self) -> np.ndarray:
        """Of the cells compared."""
        return self.snapshots.time[self.cells]

    @property
    def x(self) -> np.ndarray:
        """Positions of the cells compared."""
        return self.snapshots.x[self.cells]

    @property
    def of(self) -> str:
        """What was drawn again for the models of the ensemble."""
        if len(self.models) == 1:
            return "none"
        return "cells" if self.drawn is None else "samples"

    def weights(self) -> np.ndarray:
        """Of the cells in the mean over each cluster, shape ``(n_clusters, n)``: both conditions weigh alike."""
        weights = np.zeros((len(self.names), len(self.cells)))
        for k, row in enumerate(weights):
            inside = np.flatnonzero(self.clusters == k)
            _, which, counts = np.unique(self.codes[inside], return_inverse=True, return_counts=True)
            row[inside] = 1 / (counts[which] * len(counts))
        return weights

    def outcomes(self, n_cells: int, tol: float, rng: np.random.Generator) -> list[Outcome]:
        """Of the starting cells of each condition."""
        found = []
        for side, course in enumerate(self.courses):
            start = _cells.drawn(course.rows[0], n_cells, rng)
            counts = np.ones((len(self.models), len(start)))
            if self.drawn is not None and self.samples is not None:
                counts = self.drawn[:, self.samples[start]].astype(float)
            again = np.full(counts.shape, self.drawn is None)
            again |= counts == _anndata.BY_CELLS
            again[0] = False  # the model itself is that of all cells
            counts = np.where(again, rng.poisson(1.0, counts.shape), np.abs(counts))
            counts[counts.sum(axis=1) == 0] = 1
            models = [pair[side] for pair in self.models]
            x, seed = self.snapshots.x[start], int(rng.integers(2**63))
            found.append(outcome(models, x, counts, self.times, self.ends, tol=tol, seed=seed))
        return found

    def spread(self, values: np.ndarray) -> np.ndarray:
        """``values`` of the cells compared among all cells, NaN in others, float32."""
        out = np.full((len(self.snapshots.time), *values.shape[1:]), np.nan, dtype=np.float32)
        out[self.cells] = values
        return out

    def warn_of_intervals(self) -> None:
        """Say that there are none, or that they are not of samples."""
        if self.of == "samples":
            return
        msg = (
            "This fit has one model, so there are no intervals and no tests. Fit with n_models=5, and with sample_key "
            "where there are replicates."
            if self.of == "none"
            else "The models of this fit had cells drawn again, not samples: intervals and p-values say what other "
            "cells of the same animals or cultures would change. Fit with sample_key where there are replicates."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)


def read(adata: AnnData, reference: str, other: str, cluster_key: str | None, key: str, device: str) -> Two:
    """Arguments checked, models and cells read."""
    result, snapshots, _ = models_and_cells(adata, key, device)
    conditions = snapshots.conditions
    if conditions is None:
        raise ValueError(_anndata.NO_CONDITIONS.format(reference))
    numbers = [conditions.number(name) for name in (reference, other)]
    if numbers[0] == numbers[1]:
        msg = f"reference and other are both {reference!r}. Conditions: {conditions.names}."
        raise ValueError(msg)
    names = [conditions.names[k] for k in numbers]
    courses = snapshots.under(names[0]), snapshots.under(names[1])
    sampled = ({t for t, rows in zip(c.time_points, c.rows, strict=True) if len(rows)} for c in courses)
    present = sorted(set.intersection(*sampled))
    if len(present) < 2 or present[0] != snapshots.time_points[0]:
        each = {name: course.time_points.tolist() for name, course in zip(names, courses, strict=True)}
        msg = f"No time after the first has cells of both {names}, or the first has none. Their times: {each}."
        raise ValueError(msg)
    last = present[-1]
    of_two = np.isin(conditions.codes, numbers)
    cells = np.flatnonzero(of_two & (snapshots.time >= present[0]) & (snapshots.time <= last))
    labels, known = np.zeros(adata.n_obs, dtype=int), [""]
    if cluster_key is not None:
        column = _anndata.read_categories(adata, cluster_key)
        inside = column[cells].remove_unused_categories()
        known = [str(category) for category in inside.categories]
        if not known:
            msg = f"obs[{cluster_key!r}] is missing in all cells of {names}. Choose a column that is known there."
            raise ValueError(msg)
        labels = np.full(adata.n_obs, -1)
        labels[cells] = inside.codes
    ending = cells[(snapshots.time[cells] == last) & (labels[cells] >= 0)]
    there = np.unique(labels[ending])
    ends = Ends(snapshots.x[ending], np.eye(len(known))[labels[ending]][:, there])
    if cluster_key is not None and not len(ending):
        msg = f"obs[{cluster_key!r}] is missing in all cells at {last:g}, where fates are read."
        raise ValueError(msg)
    r = len(_anndata.read_members(adata, key))
    first, second = (
        [get.model(adata, key, member=k, condition=name, device=device) for k in range(r)] for name in names
    )
    samples, drawn, freedom = _samples(adata, result, names, r)
    through = np.unique(np.concatenate([course.time_points for course in courses]))
    fates = [] if cluster_key is None else [known[k] for k in there]
    return Two(
        snapshots=snapshots,
        courses=courses,
        models=list(zip(first, second, strict=True)),
        cells=cells,
        codes=conditions.codes[cells],
        clusters=labels[cells],
        names=known,
        ends=ends,
        fates=fates,
        times=through[through <= last],
        samples=samples,
        drawn=drawn,
        freedom=freedom,
    )


def _samples(
    adata: AnnData, result: dict[str, Any], names: list[str], r: int
) -> tuple[np.ndarray | None, np.ndarray | None, float]:
    """The sample of each cell, how often each was drawn for each model, and degrees of freedom of what is compared.

    A variance is uncertain by the number of models and by that of samples, each less the number of means taken. A
    sample at several times counts once.
    """
    about, of_models = result.get("samples", {}), float(max(1, r - 1))
    if "drawn" not in about:
        return None, None, of_models
    known = [str(name) for name in about["names"]]
    codes = _anndata.fitted_samples(adata, result["params"], known)
    if (codes < 0).any():
        msg = (
            f"{int((codes < 0).sum())} cells are of samples of obs[{result['params']['sample_key']!r}] that the fit "
            "does not know. Leave them out."
        )
        raise ValueError(msg)
    drawn = np.concatenate([np.ones((1, len(known)), dtype=int), np.asarray(about["drawn"], dtype=int)])
    table = pd.DataFrame(about["table"])
    table = table[table["condition"].astype(str).isin(names)]
    where = table["condition"].astype(str) + table["time"].astype(str)
    kinds = where.groupby(table["sample"].astype(str)).agg("|".join)
    within = float((kinds.value_counts() - 1).sum())
    return codes, drawn, of_models if not within else 1 / (1 / of_models + 1 / within)
