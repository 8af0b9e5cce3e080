"""What `tl` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anndata as ad
import numpy as np

from vgfm_sc._anndata.keys import MARK, Keys
from vgfm_sc._anndata.snapshots import Snapshots, read_representation, read_time


def read_result(adata: ad.AnnData, key: str) -> dict[str, Any]:
    """``uns[key]`` as `tl.fit` wrote it."""
    result = adata.uns.get(key)
    if not isinstance(result, Mapping) or result.get("package") != MARK:
        found = [k for k, v in adata.uns.items() if isinstance(v, Mapping) and v.get("package") == MARK]
        msg = f"No fit found in adata.uns[{key!r}]. Run `vgfm_sc.tl.fit(adata, time_key=...)` first."
        if found:
            msg += f" Fits present: key={found}."
        raise KeyError(msg)
    return dict(result)


def read_fitted(adata: ad.AnnData, key: str) -> tuple[dict[str, Any], Snapshots]:
    """The result stored under ``key`` and the cells it speaks of; a time point dropped since has no rows."""
    result = read_result(adata, key)
    params = result["params"]
    labels = params.get("time_map_labels")
    if labels is None or params["time_key"] not in adata.obs:
        time = read_time(adata, params["time_key"])
    else:
        numbers = dict(zip(map(str, labels), map(float, params["time_map_values"]), strict=True))
        time = adata.obs[params["time_key"]].astype(str).map(numbers).to_numpy(dtype=float)
    x = read_representation(adata, params["use_rep"])
    if x.shape[1] != len(result["scaling"]["centre"]):
        msg = (
            f"obsm[{params['use_rep']!r}] has {x.shape[1]} dimensions, the fit under {key!r} had "
            f"{len(result['scaling']['centre'])}. Run `vgfm_sc.tl.fit` again."
        )
        raise ValueError(msg)
    points = np.asarray(result["time_points"], dtype=float)
    return result, Snapshots(x, time, points, [np.flatnonzero(time == t) for t in points])


def read_trajectories(adata: ad.AnnData, key: str) -> dict[str, Any]:
    """What `tl.simulate` stored: times, positions, mass, cells."""
    result = read_result(adata, key)
    if "trajectories" not in result:
        msg = f"No trajectories in adata.uns[{key!r}]. Run `vgfm_sc.tl.simulate(adata, key={key!r})` first."
        raise KeyError(msg)
    return result["trajectories"]


def read_velocity(adata: ad.AnnData, key: str) -> np.ndarray:
    """Velocity in the representation of the fit, float64, shape ``(n_obs, d)``."""
    name = Keys.of(key, read_result(adata, key)["params"]["use_rep"]).velocity
    if name not in adata.obsm:
        msg = f"adata.obsm[{name!r}] is missing. Run `vgfm_sc.tl.fit` again."
        raise KeyError(msg)
    return np.asarray(adata.obsm[name], dtype=float)


def read_growth(adata: ad.AnnData, key: str) -> np.ndarray:
    """``obs["<key>_growth"]``, shape ``(n_obs,)``."""
    name = f"{key}_growth"
    if name not in adata.obs:
        msg = f"adata.obs[{name!r}] is missing. Run `vgfm_sc.tl.fit` again."
        raise KeyError(msg)
    return adata.obs[name].to_numpy(dtype=float)
