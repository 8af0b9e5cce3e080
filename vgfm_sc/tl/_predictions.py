"""Predictions of times left out: by models that never saw them, which may be trained in another process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.auto import tqdm

from vgfm_sc import _anndata, get
from vgfm_sc.core import jobs
from vgfm_sc.core.reading.distances import energy_distance, spread, wasserstein1
from vgfm_sc.methods import Method
from vgfm_sc.tl._cells import place
from vgfm_sc.tl._fit import fit


class Predictions(NamedTuple):
    """Of a fit: positions, shape ``(n, d)``, and masses by the time point left out, or by it and the condition.

    ``fit``: what it stored; ``process``: where it ran.
    """

    cells: dict[Any, tuple[np.ndarray, np.ndarray]]
    fit: dict[str, Any]
    process: int

    @property
    def elsewhere(self) -> bool:
        """Whether the fit ran in another process, so that its warnings have not been heard in this one."""
        return self.process != os.getpid()


def by_models(
    snapshots: _anndata.Snapshots,
    left_out: Sequence[Sequence[int]],
    methods: Mapping[str, Method],
    told: Mapping[str, Mapping[str, np.ndarray]],
    fit_arguments: Mapping[str, Any],
    tol: float,
    progress: bool,
) -> Iterator[tuple[str, Predictions]]:
    """``(name, predictions)`` of each of ``methods`` fitted without each group of time points, as they are done.

    ``told``: what is known of all cells, shapes ``(n_obs,)``, by name of the method and argument of `fit`.
    """
    fits = [(list(out), name) for out in left_out for name in methods]
    alone = jobs.one_by_one(len(fits))
    arguments = {**fit_arguments, "progress": progress and alone}
    tasks = [
        (out, methods[name], arguments, told.get(name, {}), snapshots.sampling, snapshots.x, tol) for out, name in fits
    ]
    with tqdm(total=len(fits), desc="models", disable=alone or not progress) as bar:
        for (_, name), predicted in zip(fits, jobs.each(simulated, tasks), strict=True):
            yield name, predicted
            bar.update()


def simulated(
    out: Sequence[int],
    method: Method,
    arguments: Mapping[str, Any],
    told: Mapping[str, np.ndarray],
    sampling: _anndata.Sampling,
    x: np.ndarray,
    tol: float,
) -> Predictions:
    """Each time point of ``out``, from the cells of the one before it, by a model that saw none of ``out``.

    No two of ``out`` are neighbours. ``told``: what is known of all cells, shapes ``(n_obs,)``, by the argument of
    `fit`.
    """
    snapshots = sampling.at(x)
    points, courses = snapshots.time_points, snapshots.courses()
    kept = ~np.isin(snapshots.time, points[out])
    rest = AnnData(
        obs=pd.DataFrame({"time": snapshots.time[kept]}, index=np.flatnonzero(kept).astype(str)),
        obsm={"X_rest": snapshots.x[kept]},
    )
    known: dict[str, Any] = {}
    if snapshots.given is not None:
        totals = {
            name: {
                float(t): float(m)
                for t, m in zip(course.time_points, course.totals, strict=True)
                if t not in points[out]
            }
            for name, course in courses.items()
        }
        known["mass"] = totals.get(None, totals)
    if snapshots.conditions is not None:
        rest.obs["condition"] = np.asarray(snapshots.conditions.names, dtype=object)[snapshots.conditions.codes[kept]]
        known["condition_key"] = "condition"
    prior, clones = told.get("growth_prior"), told.get("clone_key")
    if prior is not None:
        rest.obs["prior"] = prior[kept]
        known["growth_prior"] = "prior"
    if clones is not None and followed(clones, [rows for j, rows in enumerate(snapshots.rows) if j not in out]):
        rest.obs["clone"] = pd.Series(clones[kept], rest.obs_names, dtype="Int64").mask(clones[kept] < 0)
        known["clone_key"] = "clone"
    fit(rest, "time", use_rep="X_rest", method=method, **known, **arguments)
    cells: dict[Any, tuple[np.ndarray, np.ndarray]] = {}
    for name, course in courses.items():
        model = get.model(rest, condition=name, device=arguments["device"])
        for k in out:
            j = place(course, points[k])
            before = course.x[course.rows[j - 1]]
            positions, mass = model.simulate(before, course.time_points[j - 1 : j + 1], tol=tol)
            cells[k if name is None else (k, name)] = positions[-1], mass[-1] * (course.totals[j - 1] / len(before))
    stored = {name: rest.uns["vgfm"][name] for name in ("couplings", "history", "time_points")}
    return Predictions(cells, stored, os.getpid())


def followed(clones: np.ndarray, rows: Sequence[np.ndarray]) -> bool:
    """Whether there is more than one clone and one has cells at two time points, whose ``rows`` are given."""
    seen, n_times = np.unique(np.concatenate([np.unique(clones[r][clones[r] >= 0]) for r in rows]), return_counts=True)
    return len(seen) > 1 < n_times.max()


def scores(
    snapshots: _anndata.Snapshots,
    k: int,
    predictions: Mapping[str, tuple[np.ndarray, np.ndarray]],
    max_cells: int,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """A row for each prediction of time point ``k``, positions of shape ``(n, d)`` and masses of shape ``(n,)``."""
    observed = snapshots.x[snapshots.rows[k]]
    seen = observed[rng.permutation(len(observed))[:max_cells]]
    rows = []
    for name, (x, weight) in predictions.items():
        some = rng.permutation(len(x))[:max_cells]
        drawn, its = x[some], weight[some]
        row = {
            "time": float(snapshots.time_points[k]),
            "prediction": name,
            "energy": energy_distance(drawn, seen, its),
            "spread": spread(x, observed, weight),
            "w1": wasserstein1(drawn, seen, its),
            "mass_predicted": weight.sum(),
            "mass_observed": float(snapshots.totals[k]),
        }
        rows.append(row)
    return rows
