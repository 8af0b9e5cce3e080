"""The cells at hand as a fit sees them: its times, its conditions, its representation."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np

from vgfm_sc._anndata.conditions import NO_CONDITIONS, fitted_conditions
from vgfm_sc._anndata.representation import Representation
from vgfm_sc._anndata.results import read_result, read_trajectories
from vgfm_sc._anndata.snapshots import Sampling, Snapshots, read_time


def fitted_sampling(adata: ad.AnnData, key: str) -> tuple[dict[str, Any], Sampling]:
    """The result under ``key`` and when the cells at hand were sampled; a time point dropped since has no rows.

    Reads no positions: what needs times alone works on objects whose representation is gone.
    """
    result = read_result(adata, key)
    params = result["params"]
    labels = None
    if "time_map_labels" in params:
        labels = dict(zip(map(str, params["time_map_labels"]), map(float, params["time_map_values"]), strict=True))
    if labels is None or params["time_key"] not in adata.obs:
        time = read_time(adata, params["time_key"])
    else:
        time = adata.obs[params["time_key"]].astype(str).map(labels).to_numpy(dtype=float)
    points = np.asarray(result["time_points"], dtype=float)
    given = np.asarray(params["totals"], dtype=float) if "totals" in params else None
    rows = [np.flatnonzero(time == t) for t in points]
    conditions = fitted_conditions(adata, params)
    return result, Sampling(time=time, time_points=points, rows=rows, given=given, labels=labels, conditions=conditions)


def condition_meant(adata: ad.AnnData, key: str, condition: Any) -> str | None:
    """The condition to be under: as named, or the one that all cells are of; `None` if the fit has no conditions."""
    conditions = fitted_conditions(adata, read_result(adata, key)["params"])
    if conditions is None:
        if condition is not None:
            raise ValueError(NO_CONDITIONS.format(condition))
        return None
    if condition is not None:
        return conditions.names[conditions.number(condition)]
    return conditions.names[conditions.only(np.arange(adata.n_obs), "the cells of adata")]


def fitted_snapshots(adata: ad.AnnData, key: str) -> tuple[dict[str, Any], Snapshots]:
    """As `fitted_sampling`, with the positions of the cells."""
    result, sampling = fitted_sampling(adata, key)
    representation = Representation.stored(result["params"])
    x = representation.read(adata)
    if x.shape[1] != len(result["scaling"]["centre"]):
        msg = (
            f"{representation.where} has {x.shape[1]} dimensions, the fit under {key!r} had "
            f"{len(result['scaling']['centre'])}. Run `vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)
    return result, sampling.at(x)


def simulated_sampling(adata: ad.AnnData, key: str) -> Sampling:
    """As `fitted_sampling`, of the condition that trajectories were simulated under."""
    _, sampling = fitted_sampling(adata, key)
    return sampling.under(read_trajectories(adata, key).get("condition"))
