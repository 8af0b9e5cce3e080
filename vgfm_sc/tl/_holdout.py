from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.auto import tqdm

from vgfm_sc import _anndata, _checks, get, methods
from vgfm_sc.core import device as devices
from vgfm_sc.core import jobs
from vgfm_sc.core.reading.distances import energy_distance, spread, wasserstein1
from vgfm_sc.tl import _arguments, _cells, _entries
from vgfm_sc.tl._baselines import baselines
from vgfm_sc.tl._fit import fit

CENTRED = 1e-3
"""Offset of a mean, as a share of the spread, below which a representation counts as centred on those cells."""


def holdout(
    adata: AnnData,
    time_key: str,
    *,
    times: Sequence[float | str] | float | str | None = None,
    use_rep: str | None = "X_pca",
    layer: str | None = None,
    genes: Sequence[str] | str | None = None,
    method: str | methods.Method = "vgfm",
    time_map: Mapping[Any, float] | None = None,
    mass: str | Mapping[Any, float] = "counts",
    growth_prior: str | None = None,
    clone_key: str | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool | None = None,
    key_added: str = "vgfm",
    max_cells: int = 5000,
    tol: float = 1e-4,
    **fit_arguments: Any,
) -> pd.DataFrame:
    """Leave out time points one by one, predict them, and compare with simpler predictions.

    For each time point left out, models are fitted on all others, and the cells of the time point before it are
    simulated up to it. No model has seen the cells that it is compared with, so the scores count: ``energy`` should be
    low and ``spread`` near 1. A ``joblib.parallel_config`` around the call spreads the fits over processes or machines,
    which does not change them.

    Parameters
    ----------
    adata
        Annotated data with at least three time points.
    time_key, use_rep, layer, genes, time_map, mass, growth_prior, clone_key, device, seed, progress
        As in `vgfm_sc.tl.fit`; the baseline ``"otcfm"`` is told neither of ``growth_prior`` nor of ``clone_key``.
    times
        Time points to leave out, as numbers or by their labels in ``time_map``, each between others; all that are by
        default.
    method
        What is compared with the baselines, as in `vgfm_sc.tl.fit`.
    key_added
        The scores are kept in ``uns["<key_added>_holdout"]``.
    max_cells
        Distances, and the plan of ``"linear"``, take at most this many cells a side, drawn at random.
    tol
        Error allowed in one step of the integrator, as a share of the data's spread.
    **fit_arguments
        Further arguments of `vgfm_sc.tl.fit`, for both models; not ``copy`` or ``n_models``.

    Returns
    -------
    One row for each time point left out and each prediction; kept in ``uns["vgfm_holdout"]["scores"]`` for
    `vgfm_sc.pl.holdout` unless ``adata`` is a view:

    ``time``, ``prediction``
        The time point; the method's name, or a baseline: ``"otcfm"`` (balanced optimal-transport flow matching,
        :cite:p:`Tong24`), ``"linear"`` (cells on the straight lines of the exact optimal-transport plan between the
        time points around) and ``"nearest"`` (the cells of the nearer of these time points as they are, the earlier
        if both are as near).
    ``energy``
        Unbiased energy distance to the cells left out, as in `vgfm_sc.tl.evaluate`.
    ``spread``
        Total variance of the predicted cells, weighted by mass, over that of the cells left out.
    ``w1``
        Exact Wasserstein-1 distance to the cells left out, in units of the representation.
    ``mass_predicted``, ``mass_observed``
        Cells predicted and observed at the time left out, or, with ``mass``, totals; the baselines predict the
        log-linear interpolation of those around it, and the nearer one.

    Warns
    -----
    UserWarning
        The representation was centred on all cells, those left out among them, as `sc.pp.pca` does: what is left out
        has shaped it. Fit it on the other cells and project these for a stricter comparison.

    Raises
    ------
    ValueError
        ``times`` holds a time that is not between others.
    KeyError, TypeError, ValueError, FloatingPointError
        As `vgfm_sc.tl.fit`.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> scores = vgfm_sc.tl.holdout(adata, "time", use_rep="X_genes", times=[1, 2])
    >>> scores.pivot(index="time", columns="prediction", values="energy")
    """
    _anndata.check_key(key_added)
    slot = ("uns", f"{key_added}_holdout")
    representation = _anndata.Representation.chosen(adata, use_rep, layer, genes)
    snapshots = _anndata.read_snapshots(adata, time_key, representation, time_map, mass)
    _anndata.check_holdout(adata, key_added)
    chosen = _arguments.check_method(method)
    _checks.real("tol", tol)
    _checks.whole("max_cells", max_cells, least=2)
    _checks.seed(seed)
    _check_arguments(chosen, fit_arguments)
    prior = None
    if growth_prior is not None:
        _arguments.check_takes_prior(chosen)
        prior = _anndata.read_prior(adata, growth_prior, snapshots.time, snapshots.time_points)
    clones = None
    if clone_key is not None:
        _arguments.check_takes_clones(chosen)
        clones = _anndata.read_clones(adata, clone_key, snapshots.rows)
    left_out = _between_others(snapshots, times)
    if _has_seen(snapshots.x, np.isin(snapshots.time, snapshots.time_points[left_out])):
        msg = (
            f"{representation.where} is centred on all cells, those left out among them: it was fitted on what it is "
            "now to predict. Fit it on the other time points and project these for a stricter comparison."
        )
        warnings.warn(msg, UserWarning, stacklevel=2)
    models = {chosen.name: chosen, "otcfm": chosen if chosen.name == "otcfm" else methods.otcfm()}
    fits = [(k, name) for k in left_out for name in models]
    alone, progress = jobs.one_by_one(len(fits)), _arguments.shown(progress)
    arguments = {**fit_arguments, "device": str(devices.choose(device)), "seed": seed, "progress": progress and alone}
    sampling = snapshots.sampling
    told = {"growth_prior": prior, "clone_key": clones}
    tasks = [
        (k, models[name], arguments, told if name == chosen.name else {}, sampling, snapshots.x, tol)
        for k, name in fits
    ]
    simulated = {}
    with tqdm(total=len(fits), desc="models", disable=alone or not progress) as bar:
        for left, predicted in zip(fits, jobs.each(_simulated, tasks), strict=True):
            simulated[left] = predicted.x, predicted.mass
            if predicted.process != os.getpid():  # else its fit has been heard
                _entries.warn(**predicted.fit)
            bar.update()
    table, totals = [], snapshots.totals
    for k in left_out:
        rng = np.random.default_rng([seed, int(k)])
        time = float(snapshots.time_points[k])
        observed = snapshots.x[snapshots.rows[k]]
        predictions = {name: simulated[k, name] for name in models}
        predictions |= baselines(snapshots, k, max_cells, rng)
        seen = observed[rng.permutation(len(observed))[:max_cells]]
        for name, (x, weight) in predictions.items():
            some = rng.permutation(len(x))[:max_cells]
            drawn, its = x[some], weight[some]
            table.append(
                {
                    "time": time,
                    "prediction": name,
                    "energy": energy_distance(drawn, seen, its),
                    "spread": spread(x, observed, weight),
                    "w1": wasserstein1(drawn, seen, its),
                    "mass_predicted": weight.sum(),
                    "mass_observed": float(totals[k]),
                }
            )
    scores = pd.DataFrame(table)
    if not adata.is_view:
        _anndata.write(adata, {slot: {"package": _anndata.MARK, "scores": scores}})
    return scores


def _check_arguments(method: methods.Method, fit_arguments: Mapping[str, Any]) -> None:
    useless = sorted({"copy", "n_models"} & set(fit_arguments))
    if useless:
        msg = f"Leaving time points out returns a table; it has no use for {', '.join(useless)}."
        raise TypeError(msg)
    if method.name in ("linear", "nearest"):
        msg = f"A method named {method.name!r} cannot be told from the baseline of that name. Name it otherwise."
        raise ValueError(msg)


def _between_others(snapshots: _anndata.Snapshots, times: Any) -> np.ndarray:
    """Positions of the time points to leave out."""
    points = snapshots.time_points
    if len(points) < 3:
        msg = f"Leaving a time point out needs at least three, found {points.tolist()}."
        raise ValueError(msg)
    if times is None:
        return np.arange(1, len(points) - 1)
    wanted = _cells.numbers(times, "times", snapshots)
    nearest = np.abs(points[None] - wanted[:, None]).argmin(axis=1)
    off = np.abs(points[nearest] - wanted) > _anndata.SAME_TIME * np.ptp(points)
    wrong = off | ~np.isin(nearest, np.arange(1, len(points) - 1))
    if wrong.any() or not len(wanted):
        msg = f"times={wanted.tolist()} cannot be left out: only those between others can, {points[1:-1].tolist()}."
        raise ValueError(msg)
    return np.unique(nearest)


def _has_seen(x: np.ndarray, out: np.ndarray) -> bool:
    """Whether ``x`` is centred on all cells and not on those kept: so are principal components fitted on all."""
    spread = np.sqrt(x.var(axis=0).sum())
    return bool(np.linalg.norm(x.mean(axis=0)) < CENTRED * spread <= np.linalg.norm(x[~out].mean(axis=0)))


def _followed(clones: np.ndarray, rows: Sequence[np.ndarray]) -> bool:
    """Whether there is more than one clone and one has cells at two time points, whose ``rows`` are given."""
    seen, n_times = np.unique(np.concatenate([np.unique(clones[r][clones[r] >= 0]) for r in rows]), return_counts=True)
    return len(seen) > 1 < n_times.max()


class Prediction(NamedTuple):
    """Cells ``x``, shape ``(n, d)``, and their ``mass``; what the fit stored, and the process it ran in."""

    x: np.ndarray
    mass: np.ndarray
    fit: dict[str, Any]
    process: int


def _simulated(
    k: int,
    method: methods.Method,
    arguments: Mapping[str, Any],
    told: Mapping[str, np.ndarray | None],
    sampling: _anndata.Sampling,
    x: np.ndarray,
    tol: float,
) -> Prediction:
    """Cells of the time point before ``k`` at time point ``k`` by a model that never saw ``k``.

    ``told``: what is known of all cells, shapes ``(n_obs,)``, by the argument of `fit`.
    """
    snapshots = sampling.at(x)
    points, totals = snapshots.time_points, snapshots.totals
    kept = snapshots.time != points[k]
    rest = AnnData(
        obs=pd.DataFrame({"time": snapshots.time[kept]}, index=np.flatnonzero(kept).astype(str)),
        obsm={"X_rest": snapshots.x[kept]},
    )
    known: dict[str, Any] = {}
    if snapshots.given is not None:
        known["mass"] = {float(t): float(total) for t, total in zip(points, totals, strict=True) if t != points[k]}
    prior, clones = told.get("growth_prior"), told.get("clone_key")
    if prior is not None:
        rest.obs["prior"] = prior[kept]
        known["growth_prior"] = "prior"
    if clones is not None and _followed(clones, [rows for j, rows in enumerate(snapshots.rows) if j != k]):
        rest.obs["clone"] = pd.Series(clones[kept], rest.obs_names, dtype="Int64").mask(clones[kept] < 0)
        known["clone_key"] = "clone"
    fit(rest, "time", use_rep="X_rest", method=method, **known, **arguments)
    before = snapshots.x[snapshots.rows[k - 1]]
    model = get.model(rest, device=arguments["device"])
    positions, mass = model.simulate(before, points[k - 1 : k + 1], tol=tol)
    stored = {name: rest.uns["vgfm"][name] for name in ("couplings", "history", "time_points")}
    return Prediction(positions[-1], mass[-1] * (totals[k - 1] / len(before)), stored, os.getpid())
