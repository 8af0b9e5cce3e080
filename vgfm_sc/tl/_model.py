"""The model of a fit, for tools that follow cells with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, _checks, get

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model

CELLS_COMPARED = 100
"""Cells at which the model is asked again what it said when it was fitted."""

MOST_NAMED = 10
"""Times that an error lists."""

MOST_OFF = 0.02
"""Share of the speed by which its answers may differ: other devices round otherwise, another space is far off."""


def model_and_cells(adata: AnnData, key: str, device: str) -> tuple[dict[str, Any], _anndata.Snapshots, Model]:
    """The result stored under ``key``, the cells and the model, if cells stand where the fit has seen them.

    A principal component analysis or times made anew have the names of the old ones and mean something else. Cells that
    the fit has not seen have no velocity, and are not compared.
    """
    result, snapshots = _anndata.fitted_snapshots(adata, key)
    model = get.model(adata, key, device=device)
    if _anndata.velocity_name(adata, key) not in adata.obsm:
        return result, snapshots, model
    velocity = _anndata.read_velocity(adata, key)
    points = snapshots.time_points
    known = np.flatnonzero(np.isfinite(velocity).all(axis=1))
    params = result["params"]
    found = np.unique(snapshots.time[known])
    if not np.isin(found, points).all():
        now = str(found[:MOST_NAMED].tolist()).replace("]", ", ...]" if len(found) > MOST_NAMED else "]")
        msg = (
            f"obs[{params['time_key']!r}] holds {now} in cells that were fitted, the fit knows {points.tolist()}. "
            "Put its times back, or run `vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)
    some = known[np.linspace(0, len(known) - 1, min(CELLS_COMPARED, len(known))).round().astype(int)]
    if len(some):
        again, _ = model(snapshots.time[some], snapshots.x[some])
        off = np.linalg.norm(again - velocity[some], axis=1)
        if np.median(off) > MOST_OFF * np.sqrt((velocity[some] ** 2).sum(axis=1).mean()):
            msg = (
                f"{_anndata.Representation.stored(params).where} or obs[{params['time_key']!r}] is not what was fitted"
                ": where the cells stand now the model does not give the velocity stored with the fit. Put the fitted "
                "ones back, or run `vgfm_sc.tl.fit` again. On a subset of cells keep the representation of all: one "
                "made anew is another space."
            )
            raise ValueError(msg)
    return result, snapshots, model


def check_noise(noise: float, model: Model) -> None:
    """Refuse noise that is no size, or that asks for a score the fit has not learnt."""
    _checks.real("noise", noise, zero=True)
    if noise and model.networks.density is None:
        msg = (
            "A run with noise needs the score, and this fit has none. Run `vgfm_sc.tl.fit` again with score=True, or "
            "leave noise out."
        )
        raise ValueError(msg)
