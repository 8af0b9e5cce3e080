"""The only place that knows key names: read snapshots from AnnData, check them, write results back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd

from vgfm_sc._time import parse_time

MARK = "vgfm_sc"
"""Value of ``uns[key]["package"]``: tells our results from a user's own entry of the same name."""


class Keys(NamedTuple):
    """Where the results of one fit live."""

    uns: str
    use_rep: str
    velocity: str
    growth: str
    mass: str
    coupling: str
    growth_sd: str
    velocity_sd: str

    @classmethod
    def of(cls, key: str, use_rep: str) -> Keys:
        """The keys of ``key_added=key`` on the representation ``use_rep``."""
        return cls(
            key,
            use_rep,
            f"{key}_velocity_{basis_name(use_rep)}",
            f"{key}_growth",
            f"{key}_mass",
            f"{key}_coupling",
            f"{key}_growth_sd",
            f"{key}_velocity_sd",
        )

    def slots(self, n_models: int) -> list[tuple[str, str]]:
        """``(slot, name)`` of what a fit of so many models writes."""
        single = [
            ("uns", self.uns),
            ("obsm", self.velocity),
            ("obs", self.growth),
            ("obs", self.mass),
            ("obsp", self.coupling),
        ]
        return single if n_models == 1 else [*single, ("obs", self.growth_sd), ("obs", self.velocity_sd)]


class Snapshots(NamedTuple):
    """Cells by time point.

    ``x``: representation, shape ``(n_obs, d)``. ``time``: shape ``(n_obs,)``. ``time_points``: the distinct times,
    increasing. ``rows``: for each time point the positions of its cells in the object.
    """

    x: np.ndarray
    time: np.ndarray
    time_points: np.ndarray
    rows: list[np.ndarray]


def basis_key(adata: ad.AnnData, basis: str) -> str:
    """Key of ``obsm`` that is meant by ``basis``, which may leave out the ``X_``."""
    for name in (f"X_{basis}", basis):
        if name in adata.obsm:
            return name
    msg = f"Basis {basis!r} not found in adata.obsm. Available: {[basis_name(k) for k in adata.obsm]}."
    raise KeyError(msg)


def basis_name(use_rep: str) -> str:
    """``"X_pca"`` -> ``"pca"``."""
    return use_rep.removeprefix("X_")


def check_key(key: Any, argument: str = "key_added") -> None:
    """A key that h5ad and zarr can store."""
    if not isinstance(key, str) or not key:
        msg = f"{argument} must be a non-empty string, got {key!r}."
        raise TypeError(msg)
    if "/" in key:
        msg = f"{argument}={key!r} contains '/', which h5ad and zarr read as a folder. Choose a name without it."
        raise ValueError(msg)


def read_snapshots(
    adata: ad.AnnData, time_key: str, use_rep: str, time_map: Mapping[Any, float] | None = None
) -> Snapshots:
    """Representation and times of all cells, checked."""
    if not isinstance(adata, ad.AnnData):
        msg = f"Expected an AnnData, got {type(adata).__name__}."
        raise TypeError(msg)
    time = read_time(adata, time_key, time_map)
    x = read_representation(adata, use_rep)
    time_points, which = np.unique(time, return_inverse=True)
    if len(time_points) < 2:
        msg = f"obs[{time_key!r}] holds one time point ({time_points[0]:g}); at least two are needed."
        raise ValueError(msg)
    rows = [np.flatnonzero(which == k) for k in range(len(time_points))]
    small = {f"{t:g}": len(r) for t, r in zip(time_points, rows, strict=True) if len(r) < 2}
    if small:
        msg = f"Time points with fewer than 2 cells (time: cells): {small}. Drop them or merge them with a neighbour."
        raise ValueError(msg)
    return Snapshots(x, time, time_points, rows)


def read_time(adata: ad.AnnData, time_key: str, time_map: Mapping[Any, float] | None = None) -> np.ndarray:
    """``obs[time_key]`` as float64, shape ``(n_obs,)``; the user's column is not changed."""
    if time_key not in adata.obs:
        msg = f"Time key {time_key!r} not found in adata.obs. Available: {list(adata.obs.columns)}."
        raise KeyError(msg)
    if adata.n_obs == 0:
        msg = "adata has no cells."
        raise ValueError(msg)
    return parse_time(adata.obs[time_key], f"obs[{time_key!r}]", time_map)


def read_representation(adata: ad.AnnData, use_rep: str) -> np.ndarray:
    """``obsm[use_rep]`` as a float array of its own, shape ``(n_obs, d)``."""
    if use_rep not in adata.obsm:
        hint = " Run `sc.pp.pca(adata)` first." if use_rep == "X_pca" else ""
        msg = f"Representation {use_rep!r} not found in adata.obsm. Available: {list(adata.obsm)}.{hint}"
        raise KeyError(msg)
    x = adata.obsm[use_rep]
    for convert in ("compute", "toarray", "to_numpy"):  # dask, then sparse or DataFrame
        x = getattr(x, convert)() if hasattr(x, convert) else x
    x = np.asarray(x)
    frame = adata.obsm[use_rep]
    if isinstance(frame, pd.DataFrame) and all(pd.api.types.is_numeric_dtype(t) for t in frame.dtypes):
        x = frame.to_numpy(dtype=float, na_value=np.nan)  # nullable columns are objects otherwise
    if x.dtype.kind not in "fiu":
        msg = f"obsm[{use_rep!r}] is of type {x.dtype}; a numeric array is needed."
        raise TypeError(msg)
    if x.ndim != 2 or x.shape[1] == 0:
        msg = f"obsm[{use_rep!r}] has shape {x.shape}; (n_obs, at least 1 dimension) is needed."
        raise ValueError(msg)
    x = x.astype(np.float64)
    bad = int((~np.isfinite(x)).any(axis=1).sum())
    if bad:
        msg = f"obsm[{use_rep!r}] holds NaN or infinity in {bad} of {len(x)} cells."
        raise ValueError(msg)
    if not np.ptp(x, axis=0).any():
        msg = f"obsm[{use_rep!r}] is constant: all cells are at one point."
        raise ValueError(msg)
    return x


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


def check_free(adata: ad.AnnData, keys: Keys, n_models: int) -> list[tuple[str, str]]:
    """Refuse to overwrite entries that are not ours; the entries of an earlier fit that the new one leaves behind."""
    ours: set[tuple[str, str]] = set()
    earlier = adata.uns.get(keys.uns)
    if isinstance(earlier, Mapping) and earlier.get("package") == MARK:
        params = earlier.get("params", {})
        theirs = Keys.of(keys.uns, str(params.get("use_rep", keys.use_rep)))
        ours = set(theirs.slots(int(params.get("n_models", 1))))
        ours |= {projection(keys.uns, str(basis)) for basis in earlier.get("projected", ())}
    wanted = set(keys.slots(n_models))
    taken = sorted(f"{slot}[{name!r}]" for slot, name in wanted - ours if name in getattr(adata, slot))
    if taken:
        msg = f"adata already holds {', '.join(taken)}, not written by a fit. Choose another key_added."
        raise ValueError(msg)
    return sorted(ours - wanted)


def projection(key: str, basis: str) -> tuple[str, str]:
    """``(slot, name)`` of the velocity on an embedding."""
    return "obsm", f"{key}_velocity_{basis}"


def free_projection(adata: ad.AnnData, key: str, basis: str) -> tuple[str, str]:
    """Where the velocity on ``basis`` goes; refuses to overwrite an entry that is not ours."""
    result = read_result(adata, key)
    slot, name = projection(key, basis)
    if name in adata.obsm and basis not in map(str, result.get("projected", ())):
        msg = f"adata already holds {slot}[{name!r}], not written by a projection. Rename it, or the basis."
        raise ValueError(msg)
    return slot, name


def write(adata: ad.AnnData, entries: Mapping[tuple[str, str], Any], remove: Sequence[tuple[str, str]] = ()) -> None:
    """Set ``{(slot, name): value}`` and drop ``remove``, all or not at all."""
    if adata.is_view:
        msg = "adata is a view: results are written to this object, not to the one it was taken from."
        warnings.warn(msg, UserWarning, stacklevel=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ad.ImplicitModificationWarning)
            adata.obs = adata.obs.copy()  # makes the view an object of its own
    missing = object()
    before = {(slot, name): getattr(adata, slot).get(name, missing) for slot, name in [*entries, *remove]}
    try:
        for slot, name in remove:
            if name in getattr(adata, slot):
                del getattr(adata, slot)[name]
        for (slot, name), value in entries.items():
            getattr(adata, slot)[name] = value
    except BaseException:
        for (slot, name), value in before.items():
            if value is not missing:
                getattr(adata, slot)[name] = value
            elif name in getattr(adata, slot):
                del getattr(adata, slot)[name]
        raise


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
