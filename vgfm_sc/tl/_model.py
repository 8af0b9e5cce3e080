"""The model of a fit, for tools that follow cells with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, _checks, get
from vgfm_sc.tl import _cells

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model

CELLS_COMPARED = 100
"""Cells at which the model is asked again what it said when it was fitted."""

MOST_NAMED = 10
"""Times that an error lists."""

MOST_OFF = 0.02
"""Share of the speed by which its answers may differ: other devices round otherwise, another space is far off."""


class Asked(NamedTuple):
    """Cells that are asked with the model of one condition; without conditions, all of them with the model there is.

    ``condition``: its name, or `None`. ``rows``: positions of the cells, increasing. ``model``: the model itself.
    """

    condition: str | None
    rows: np.ndarray
    model: Model


def model_and_cells(
    adata: AnnData, key: str, device: str, condition: str | None = None
) -> tuple[dict[str, Any], _anndata.Snapshots, Model]:
    """The result stored under ``key``, the cells and the model, of a fit with conditions those of one.

    ``condition`` can be `None` where all cells are of one, or the fit has none. Checked as by `models_and_cells`.
    """
    result, snapshots, models = models_and_cells(adata, key, device)
    name = _anndata.condition_meant(adata, key, condition)
    return result, snapshots.under(name), models[name]


def models_and_cells(
    adata: AnnData, key: str, device: str
) -> tuple[dict[str, Any], _anndata.Snapshots, dict[str | None, Model]]:
    """The result stored under ``key``, the cells and the model of each condition, if cells stand where they were.

    Without conditions the model is that of `None`. A principal component analysis or times made anew have the names of
    the old ones and mean something else. Cells that the fit has not seen have no velocity, and are not compared.
    """
    result, snapshots = _anndata.fitted_snapshots(adata, key)
    conditions = snapshots.conditions
    names = [None] if conditions is None else conditions.names
    models = {name: get.model(adata, key, condition=name, device=device) for name in names}
    if _anndata.velocity_name(adata, key) not in adata.obsm:
        return result, snapshots, models
    velocity = _anndata.read_velocity(adata, key)
    points, has_model = snapshots.time_points, np.ones(len(velocity), dtype=bool)
    if conditions is not None:
        has_model = conditions.codes != _anndata.NO_CONDITION
    known = np.flatnonzero(np.isfinite(velocity).all(axis=1) & has_model)
    params = result["params"]
    found = np.unique(snapshots.time[known])
    if not np.isin(found, points).all():
        now = str(found[:MOST_NAMED].tolist()).replace("]", ", ...]" if len(found) > MOST_NAMED else "]")
        msg = (
            f"obs[{params['time_key']!r}] holds {now} in fitted cells, but the fit knows {points.tolist()}. Restore "
            "its times, or run `vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)
    some = known[np.linspace(0, len(known) - 1, min(CELLS_COMPARED, len(known))).round().astype(int)]
    if len(some):
        again = np.empty((len(some), velocity.shape[1]))
        for of_one in own(snapshots, models, some):
            here = np.isin(some, of_one.rows)
            again[here] = of_one.model(snapshots.time[of_one.rows], snapshots.x[of_one.rows])[0]
        off = np.linalg.norm(again - velocity[some], axis=1)
        if np.median(off) > MOST_OFF * np.sqrt((velocity[some] ** 2).sum(axis=1).mean()):
            msg = (
                f"{_anndata.Representation.stored(params).where} or obs[{params['time_key']!r}] is not what was "
                "fitted: the model does not give the stored velocity at the present positions. Restore the fitted "
                "values, or run `vgfm_sc.tl.fit` again. For a subset of the cells keep the representation of all: a "
                "recomputed one is another space."
            )
            raise ValueError(msg)
    return result, snapshots, models


def own(
    snapshots: _anndata.Sampling, models: Mapping[str | None, Model], rows: np.ndarray, condition: str | None = None
) -> list[Asked]:
    """The cells at ``rows``, each to be asked with the model of its own condition, or all with that of one."""
    conditions = snapshots.conditions
    if conditions is None:
        if condition is not None:
            raise ValueError(_anndata.NO_CONDITIONS.format(condition))
        return [Asked(None, rows, models[None])]
    if condition is not None:
        name = conditions.names[conditions.number(condition)]
        return [Asked(name, rows, models[name])]
    codes = conditions.codes[rows]
    unknown = int((codes == _anndata.NO_CONDITION).sum())
    if unknown:
        msg = (
            f"{unknown} cells have a condition in obs[{conditions.key!r}] that the fit does not know. It knows "
            f"{conditions.names}. Leave these cells out."
        )
        raise ValueError(msg)
    return [Asked(conditions.names[k], rows[codes == k], models[conditions.names[k]]) for k in np.unique(codes)]


def condition_to_follow(adata: AnnData, start: Any, condition: str | None, key: str) -> str | None:
    """``condition``, or the one of the cells that ``start`` names; `None` where neither says which."""
    if condition is not None or start is None or not np.ndim(start):
        return condition
    _, sampling = _anndata.fitted_sampling(adata, key)
    if sampling.conditions is None:
        return None
    cells, _ = _cells.positions(sampling, start, "start", "a time point")
    return sampling.conditions.names[sampling.conditions.only(cells, "the cells of start")]


def check_noise(noise: float, model: Model) -> None:
    """Refuse noise that is no size, or that asks for a score the fit has not learnt."""
    _checks.real("noise", noise, zero=True)
    if noise and model.networks.density is None:
        msg = (
            "A run with noise needs the score, and this fit has none. Run `vgfm_sc.tl.fit` again with score=True, or "
            "leave noise out."
        )
        raise ValueError(msg)
