"""What tools that change genes have in common: the cells followed, replicates, and tables of effects."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks, get
from vgfm_sc.core.reading.effects import Effects, Tested, tested
from vgfm_sc.core.reading.perturbation import Change, Ends, Group, Trial, outside
from vgfm_sc.tl import _cells, _clusters
from vgfm_sc.tl._model import check_noise, condition_to_follow, model_and_cells

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model

LEAST_CELLS = 10
"""In a replicate, and to draw from."""

REPLICATES = 10
"""Of cells, with one model."""


class Setting(NamedTuple):
    """What is followed, changed or not.

    ``groups``: cells with their models. ``trial``: how they are followed. ``there``: observed cells of the time point
    they start from, shape ``(m, d)``. ``names``: of the clusters. ``share``: as `effects.tested` takes it. ``of``: what
    replicates are, ``"cells"`` or ``"models"``.
    """

    snapshots: _anndata.Snapshots
    groups: list[Group]
    trial: Trial
    there: np.ndarray
    names: list[str]
    share: float
    of: str

    @property
    def model(self) -> Model:
        """That fitted to all cells."""
        return self.groups[0].model

    def columns(self) -> dict[str, list[str]]:
        """What effects there are: one for each cluster, then mass and energy."""
        return {"effect": ["fate"] * len(self.names) + ["mass", "energy"], "fate": [*self.names, "", ""]}

    def table(self, found: Effects) -> pd.DataFrame:
        """The effects in all replicates, one row each."""
        return frame(self.columns(), found.levels, tested(found.values, self.share))

    def outside_start(self, change: Change) -> float:
        """Share of the cells that a change takes to where none were observed."""
        group = self.groups[0]
        moved = change.made(group.x, self.model.scaling)
        away = outside(moved, self.there, self.model.scaling, self.trial.seed)
        return float(np.average(away, weights=group.counts.sum(axis=0)))

    def warn_of_one_model(self, n_replicates: int | None) -> None:
        """Warn of replicates of cells, unless they were asked for."""
        if self.of == "cells" and n_replicates is None:
            msg = (
                "This fit has one model, so intervals and p-values only say what another draw of cells would change. "
                "Genes that do nothing often appear significant because of what this model has learnt by chance. Fit "
                "with n_models=5 to account for that. To keep replicates of cells, pass n_replicates."
            )
            warnings.warn(msg, UserWarning, stacklevel=3)


def prepared(
    adata: AnnData,
    cluster_key: str,
    *,
    held: bool,
    start: Any,
    points: int,
    noise: float,
    n_cells: int,
    n_replicates: int | None,
    condition: str | None,
    key: str,
    seed: int,
    tol: float,
    device: str,
) -> Setting:
    """Arguments checked, cells drawn, models read; ``points``: times kept in each interval between time points.

    Replicates are draws of cells, with replacement, all for one model; or, of an ensemble, one draw for each model.
    """
    _checks.real("tol", tol)
    _checks.seed(seed)
    _checks.whole("n_cells", n_cells, least=LEAST_CELLS)
    if n_replicates is not None:
        _checks.whole("n_replicates", n_replicates, least=2)
    condition = condition_to_follow(adata, start, condition, key)
    _, snapshots, model = model_and_cells(adata, key, device, condition)
    check_noise(noise, model)
    pool, first = _cells.starting(snapshots, start)
    clusters = _clusters.of_end(adata, cluster_key, snapshots, -1)
    times = snapshots.time_points
    if not first < times[-1]:
        msg = f"start is the last time point, {first:g}: a change has no time to act. Start from an earlier one."
        raise ValueError(msg)
    n_pool = len(np.unique(pool))
    if n_pool < LEAST_CELLS:
        msg = f"start names {n_pool} cells; at least {LEAST_CELLS} are needed to tell an effect from chance."
        raise ValueError(msg)
    n_models = len(_anndata.read_members(adata, key)) if n_replicates is None else 1
    name = _anndata.condition_meant(adata, key, condition)
    models = [model, *(get.model(adata, key, member=k, condition=name, device=device) for k in range(1, n_models))]
    of_each = (n_replicates or REPLICATES) if n_models == 1 else 1
    rng = np.random.default_rng(seed)
    groups = [_group(one, snapshots.x, rng.choice(pool, (of_each, n_cells)), bool(noise)) for one in models]
    later = np.concatenate([[first], times[times > first]])
    grid = [np.linspace(a, b, points + 1)[1:] for a, b in zip(later[:-1], later[1:], strict=True)]
    labelled = clusters.labels >= 0
    ends = Ends(snapshots.x[labelled], np.eye(len(clusters.names))[clusters.labels[labelled]])
    trial = Trial(np.concatenate([[first], *grid]), ends, held, float(noise), tol, int(rng.integers(2**63)))
    there = snapshots.x[snapshots.rows[_cells.place(snapshots, first)]]
    share, of = (n_cells / len(pool), "cells") if n_models == 1 else (1.0, "models")
    return Setting(snapshots, groups, trial, there, clusters.names, share, of)


def _group(model: Model, x: np.ndarray, drawn: np.ndarray, apart: bool) -> Group:
    """Cells ``drawn``, shape ``(r, n)``, once each; ``apart``: as often as they were drawn, for noise of their own."""
    cells, place = (drawn.ravel(), np.arange(drawn.size)) if apart else np.unique(drawn, return_inverse=True)
    counts = np.zeros((len(drawn), len(cells)))
    np.add.at(counts, (np.arange(len(drawn))[:, None], place.reshape(drawn.shape)), 1)
    return Group(model, x[cells], counts)


def frame(columns: dict[str, Any], levels: np.ndarray, found: Tested) -> pd.DataFrame:
    """A table of ``q`` effects, one row each; ``levels``: unchanged and changed, shape ``(2, q)``."""
    return pd.DataFrame({**columns, "unchanged": levels[0], "changed": levels[1], **found._asdict()})
