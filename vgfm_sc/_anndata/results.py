"""What `tl` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._anndata.columns import read_genes
from vgfm_sc._anndata.keys import MARK, Keys, basis_key, basis_name, named
from vgfm_sc._anndata.representation import Representation, read_representation


def read_result(adata: ad.AnnData, key: str) -> dict[str, Any]:
    """``uns[key]`` as `tl.fit` wrote it."""
    result = adata.uns.get(key)
    if not is_fit(result):
        found = [k for k, v in adata.uns.items() if is_fit(v)]
        msg = f"No fit found in adata.uns[{key!r}]. Run `vgfm_sc.tl.fit(adata, time_key=...)` first."
        if found:
            msg += f" Fits present: key={found}."
        raise KeyError(msg)
    return dict(result)


def read_members(adata: ad.AnnData, key: str) -> list[Mapping[str, Any]]:
    """Weights of the models of the fit under ``key``, the model itself first; older ensembles kept that one alone."""
    result = read_result(adata, key)
    others = result.get("ensemble", {})
    return [result["weights"], *(others[str(k)] for k in range(1, len(others) + 1))]


def is_fit(entry: Any) -> bool:
    """Not the scores of `tl.holdout`, nor the scale of `tl.growth_prior`."""
    return isinstance(entry, Mapping) and entry.get("package") == MARK and not {"scores", "scale"} & set(entry)


def fitted_basis(adata: ad.AnnData, key: str) -> str:
    """Name of the basis of the fit under ``key``."""
    return basis_name(Representation.stored(read_result(adata, key)["params"]).name)


def read_coordinates(adata: ad.AnnData, key: str, basis: str) -> np.ndarray:
    """Cells on ``basis``, that of the fit or an embedding, shape ``(n_obs, q)``; of genes the two that are drawn."""
    fitted = Representation.stored(read_result(adata, key)["params"])
    if basis_name(basis) != basis_name(fitted.name):
        return read_representation(adata, basis_key(adata, basis))
    return fitted.read(adata) if fitted.genes is None else read_genes(adata, fitted.genes[:2].tolist(), fitted.layer)


def read_trajectories(adata: ad.AnnData, key: str) -> dict[str, Any]:
    """What `tl.simulate` stored: times, positions, mass, cells."""
    result = read_result(adata, key)
    if "trajectories" not in result:
        msg = f"No trajectories in adata.uns[{key!r}]. Run `vgfm_sc.tl.simulate(adata{named(key)})` first."
        raise KeyError(msg)
    return result["trajectories"]


def read_velocity(adata: ad.AnnData, key: str) -> np.ndarray:
    """Velocity in the representation of the fit, float64, shape ``(n_obs, d)``."""
    name = velocity_name(adata, key)
    if name not in adata.obsm:
        msg = f"adata.obsm[{name!r}] is missing. Run `vgfm_sc.tl.fit` again."
        raise KeyError(msg)
    return np.asarray(adata.obsm[name], dtype=float)


def velocity_name(adata: ad.AnnData, key: str) -> str:
    """Key of ``obsm`` with the velocity in the representation of the fit."""
    return Keys.of(key, Representation.stored(read_result(adata, key)["params"]).name).velocity


def read_growth(adata: ad.AnnData, key: str) -> np.ndarray:
    """``obs["<key>_growth"]``, shape ``(n_obs,)``."""
    name = f"{key}_growth"
    if name not in adata.obs:
        msg = f"adata.obs[{name!r}] is missing. Run `vgfm_sc.tl.fit` again."
        raise KeyError(msg)
    return adata.obs[name].to_numpy(dtype=float)


def read_mass(adata: ad.AnnData, key: str) -> np.ndarray:
    """``obs["<key>_mass"]``, what a unit of each cell's mass becomes until the next time point, ``(n_obs,)``."""
    name = f"{key}_mass"
    if name not in adata.obs:
        msg = f"adata.obs[{name!r}] is missing. Run `vgfm_sc.tl.fit` again."
        raise KeyError(msg)
    return adata.obs[name].to_numpy(dtype=float)


def read_landscape(adata: ad.AnnData, key: str) -> tuple[np.ndarray, float | None]:
    """``obs["<key>_landscape"]``, shape ``(n_obs,)``, and the time it is of; `None`: of each cell its own."""
    about = read_result(adata, key).get("landscape")
    name = f"{key}_landscape"
    if about is None or name not in adata.obs:
        msg = f"adata.obs[{name!r}] is missing. Run `vgfm_sc.tl.landscape(adata{named(key)})` first."
        raise KeyError(msg)
    time = float(about["time"])
    return adata.obs[name].to_numpy(dtype=float), None if np.isnan(time) else time


def read_evaluation(adata: ad.AnnData, key: str) -> pd.DataFrame | None:
    """The table of `tl.evaluate`, if it has been run since the fit."""
    return read_result(adata, key).get("evaluation")


def read_clone_scores(adata: ad.AnnData, key: str) -> dict[str, Any]:
    """What `tl.compare_clones` stored."""
    result = read_result(adata, key)
    if "clones" not in result:
        msg = (
            f"No clones in adata.uns[{key!r}]. Run `vgfm_sc.tl.compare_clones(adata, clone_key=...{named(key)})` first."
        )
        raise KeyError(msg)
    return result["clones"]


def read_fate(adata: ad.AnnData, key: str) -> pd.DataFrame:
    """``obsm["<key>_fate"]``: probability of each terminal cluster, one row a cell."""
    read_result(adata, key)
    name = f"{key}_fate"
    if name not in adata.obsm:
        msg = f"adata.obsm[{name!r}] is missing. Run `vgfm_sc.tl.fate(adata, cluster_key=...{named(key)})` first."
        raise KeyError(msg)
    return adata.obsm[name]


def read_projected(adata: ad.AnnData, key: str, basis: str) -> np.ndarray:
    """Velocity on ``basis``, that of the fit or one that `tl.project` has drawn on, shape ``(n_obs, q)``."""
    read_result(adata, key)
    name = f"{key}_velocity_{basis_name(basis)}"
    if name not in adata.obsm:
        msg = f"adata.obsm[{name!r}] is missing. Run `vgfm_sc.tl.project(adata, {basis!r}{named(key)})` first."
        raise KeyError(msg)
    return np.asarray(adata.obsm[name], dtype=float)


def read_positions(adata: ad.AnnData, key: str, basis: str) -> np.ndarray:
    """Trajectories on ``basis``, that of the fit or one that `tl.project` has drawn on, ``(n_times, n, q)``."""
    trajectories = read_trajectories(adata, key)
    short = basis_name(basis)
    if short == fitted_basis(adata, key):
        return np.asarray(trajectories["positions"], dtype=float)
    if f"positions_{short}" not in trajectories:
        msg = (
            f"The trajectories have not been projected onto {basis!r}. Run `vgfm_sc.tl.project(adata, "
            f"{basis!r}{named(key)})` after `vgfm_sc.tl.simulate`."
        )
        raise KeyError(msg)
    return np.asarray(trajectories[f"positions_{short}"], dtype=float)


def read_labels(adata: ad.AnnData, key: str, column: str) -> tuple[np.ndarray, list[str]]:
    """Labels of the trajectories: codes, shape ``(n_times, n)``, and what they stand for."""
    labels = read_trajectories(adata, key).get("labels", {})
    if column not in labels:
        msg = f"The trajectories carry no labels {column!r}, only {list(labels)}. "
        if read_number(adata, key, column) is None:
            msg += f"Run `vgfm_sc.tl.annotate(adata, {column!r}{named(key)})` after `vgfm_sc.tl.simulate`."
        else:
            msg += "It is a number; name a column of labels."
        raise KeyError(msg)
    return np.asarray(labels[column]["codes"]), [str(c) for c in labels[column]["categories"]]


def read_number(adata: ad.AnnData, key: str, name: str) -> np.ndarray | None:
    """A gene or a column of numbers along the trajectories, shape ``(n_times, n)``, if they carry it."""
    carried = read_trajectories(adata, key).get("values", {"names": []})
    places = np.flatnonzero([str(known) == name for known in carried["names"]])
    return np.asarray(carried["values"], dtype=float)[:, :, places[0]] if len(places) else None


def read_values(adata: ad.AnnData, key: str) -> tuple[list[str], np.ndarray]:
    """Genes and numbers that the trajectories carry: names, and values of shape ``(n_times, n, n_names)``."""
    carried = read_trajectories(adata, key).get("values")
    if carried is None:
        msg = f"The trajectories carry no genes. Run `vgfm_sc.tl.annotate(adata, [...]{named(key)})` with their names."
        raise KeyError(msg)
    return [str(name) for name in carried["names"]], np.asarray(carried["values"], dtype=float)


def read_ranking(adata: ad.AnnData, key: str, by: str) -> pd.DataFrame:
    """The table of `tl.rank_genes` by ``by``."""
    ranked = read_result(adata, key).get("genes", {})
    if by not in ranked:
        msg = (
            f"No genes ranked by {by!r} under {key!r}, only by {list(ranked)}. "
            f"Run `vgfm_sc.tl.rank_genes(adata, {by!r}{named(key)})` first."
        )
        raise KeyError(msg)
    return ranked[by]


def top_genes(adata: ad.AnnData, key: str, n: int) -> list[str] | None:
    """The genes that rank first in growth, if `tl.rank_genes` has ranked them."""
    table = read_result(adata, key).get("genes", {}).get("growth")
    return None if table is None else [str(name) for name in table["names"][:n]]


def read_sd(adata: ad.AnnData, key: str) -> dict[str, np.ndarray]:
    """Spread of growth and velocity over the models of an ensemble, each of shape ``(n_obs,)``."""
    read_result(adata, key)
    names = {what: f"{key}_{what}_sd" for what in ("growth", "velocity")}
    missing = [name for name in names.values() if name not in adata.obs]
    if missing:
        msg = f"adata.obs lacks {missing}: this fit has one model. Run `vgfm_sc.tl.fit(adata, ..., n_models=5)` first."
        raise KeyError(msg)
    return {what: adata.obs[name].to_numpy(dtype=float) for what, name in names.items()}
