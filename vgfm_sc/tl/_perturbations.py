"""What tools that change genes have in common: the cells followed, replicates, and tables of effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks, get
from vgfm_sc.core.reading import perturbation
from vgfm_sc.core.reading.perturbation import Ends, Group, Run
from vgfm_sc.tl import _cells, _clusters
from vgfm_sc.tl._model import model_and_cells

LEAST_CELLS = 10
"""In a replicate, and to draw from."""

REPLICATES = 10
"""Of cells, with one model."""


class Setting(NamedTuple):
    """What is followed, changed or not.

    ``groups``: cells with their models. ``ends``: observed cells of the last time point; ``names``: their clusters.
    ``first``, ``last``: times. ``share``: as `perturbation.tested` takes it. ``replicates``: ``"cells"`` or
    ``"models"``.
    """

    snapshots: _anndata.Snapshots
    groups: list[Group]
    ends: Ends
    names: list[str]
    first: float
    last: float
    share: float
    replicates: str

    @property
    def model(self):
        """That fitted to all cells."""
        return self.groups[0].model

    def run(self, times: Sequence[float] | np.ndarray, tol: float, seed: int) -> list[Run]:
        """All groups, unchanged."""
        return [perturbation.follow(group, times, self.ends, held=None, tol=tol, seed=seed) for group in self.groups]

    def columns(self) -> dict[str, list[str]]:
        """What effects there are: one for each cluster, then mass and energy."""
        return {"effect": ["fate"] * len(self.names) + ["mass", "energy"], "fate": [*self.names, "", ""]}

    def unchanged(self, before: Sequence[Run]) -> np.ndarray:
        """Level of each effect without a change: shares of fates, final mass of a cell, and no energy distance."""
        shares = [perturbation.share_of(run, g.counts) for run, g in zip(before, self.groups, strict=True)]
        mass = [g.counts @ run.mass[-1] / g.counts.sum(axis=1) for run, g in zip(before, self.groups, strict=True)]
        return np.array([*np.concatenate(shares).mean(axis=0), np.concatenate(mass).mean(), 0.0])


def of_replicates(effects: perturbation.Effects) -> np.ndarray:
    """The effects of `Setting.columns`, shape ``(r, n_clusters + 2)``."""
    return np.column_stack([effects.fates, effects.mass[:, -1], effects.energy])


def changed(effects: perturbation.Effects, unchanged: np.ndarray) -> np.ndarray:
    """Level of each effect with a change."""
    mass = unchanged[-2] * np.exp(effects.mass[:, -1].mean())
    return np.array([*effects.shares.mean(axis=0), mass, effects.energy.mean()])


def prepared(
    adata: AnnData,
    cluster_key: str,
    start: Any,
    n_cells: int,
    n_replicates: int | None,
    key: str,
    seed: int,
    tol: float,
    device: str,
) -> Setting:
    """Arguments checked, cells drawn, models read.

    Replicates are draws of cells, with replacement, all for one model; or, of an ensemble, one draw for each model.
    """
    _checks.real("tol", tol)
    _checks.seed(seed)
    _checks.whole("n_cells", n_cells, least=LEAST_CELLS)
    if n_replicates is not None:
        _checks.whole("n_replicates", n_replicates, least=2)
    _, snapshots, model = model_and_cells(adata, key, device)
    pool, first = _cells.starting(snapshots, start)
    clusters = _clusters.of_end(adata, cluster_key, snapshots, -1)
    last = float(snapshots.time_points[-1])
    if not first < last:
        msg = f"start is the last time point, {last:g}: a change has no time to act. Start from an earlier one."
        raise ValueError(msg)
    n_pool = len(np.unique(pool))
    if n_pool < LEAST_CELLS:
        msg = f"start names {n_pool} cells; at least {LEAST_CELLS} are needed to tell an effect from chance."
        raise ValueError(msg)
    n_models = len(_anndata.read_members(adata, key)) if n_replicates is None else 1
    models = [model, *(get.model(adata, key, member=k, device=device) for k in range(1, n_models))]
    rng = np.random.default_rng(seed)
    groups = []
    for one in models:
        drawn = rng.choice(pool, ((n_replicates or REPLICATES) if n_models == 1 else 1, n_cells))
        cells, place = np.unique(drawn, return_inverse=True)
        counts = np.zeros((len(drawn), len(cells)))
        np.add.at(counts, (np.arange(len(drawn))[:, None], place.reshape(drawn.shape)), 1)
        groups.append(Group(one, snapshots.x[cells], counts))
    labelled = clusters.labels >= 0
    ends = Ends(snapshots.x[labelled], np.eye(len(clusters.names))[clusters.labels[labelled]])
    share, replicates = (n_cells / len(pool), "cells") if n_models == 1 else (1.0, "models")
    return Setting(snapshots, groups, ends, clusters.names, first, last, share, replicates)


def frame(columns: dict[str, Any], unchanged: np.ndarray, changed: np.ndarray, tested: perturbation.Tested) -> Any:
    """A table of effects, one row each."""
    return pd.DataFrame({**columns, "unchanged": unchanged, "changed": changed, **tested._asdict()})
