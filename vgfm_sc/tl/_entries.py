"""What a fit writes and warns of."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix, get_index_dtype

import vgfm_sc
from vgfm_sc import _anndata
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.tl._models import FittedModel

logger = logging.getLogger(__name__)

STORED_SHARE = 1e-6
"""Entries of a coupling below this share of their row and of their column are not stored."""

MOST_BETWEEN = 0.1
"""Share of the variance of a time point that may lie between its samples before a warning says so."""

MOST_NAMED = 5
"""Times that a warning lists."""


def of_fit(
    models: Sequence[FittedModel],
    keys: _anndata.Keys,
    sampling: _anndata.Sampling,
    params: Mapping[str, Any],
    scaling: Scaling,
    sampled: pd.DataFrame | None,
) -> dict[tuple[str, str], Any]:
    """``{(slot, name): value}``; the first of ``models`` is the fit itself, trained on the rows of ``sampling``.

    ``sampled``: the table of samples, if they are known.
    """
    main, n_obs = models[0], len(sampling.time)
    courses = list(sampling.courses().values())
    mass = np.full(n_obs, np.nan, dtype=np.float32)
    for k, (couplings, course) in enumerate(zip(main.couplings, courses, strict=True)):
        for coupling, cells in zip(couplings, course.rows[:-1], strict=True):
            own = slice(None) if sampling.conditions is None else sampling.conditions.codes[cells] == k
            mass[cells[own]] = coupling.row_mass[own]
    plans = [joined_plans(*of_one, n_obs) for of_one in zip(main.couplings, [c.rows for c in courses], strict=True)]
    entries: dict[tuple[str, str], Any] = {
        ("obsm", keys.velocity): main.velocity.astype(np.float32),
        ("obs", keys.growth): main.growth.astype(np.float32),
        ("obs", keys.mass): mass,
        ("obsp", keys.coupling): sum(plans[1:], plans[0]),
        ("uns", keys.uns): {
            "package": _anndata.MARK,
            "version": vgfm_sc.__version__,
            "params": dict(params),
            "time_points": sampling.time_points,
            "scaling": {name: value for name, value in scaling._asdict().items() if value is not None},
            "couplings": main.convergence,
            "history": main.history,
            "weights": main.weights,
        },
    }
    if sampling.samples is not None:
        names = np.asarray(sampling.samples.names, dtype=str)
        entries["uns", keys.uns]["samples"] = {"names": names, "table": sampled}
        drawn = [model.drawn for model in models[1:] if model.drawn is not None]
        if drawn:
            entries["uns", keys.uns]["samples"]["drawn"] = np.stack(drawn)
    if len(models) > 1:
        entries["uns", keys.uns]["ensemble"] = {str(k): model.weights for k, model in enumerate(models) if k}
        velocities, growths = (np.stack([getattr(m, name) for m in models]) for name in ("velocity", "growth"))
        entries["obs", keys.growth_sd] = growths.std(axis=0, ddof=1).astype(np.float32)
        entries["obs", keys.velocity_sd] = np.sqrt(velocities.var(axis=0, ddof=1).sum(axis=1)).astype(np.float32)
    return entries


def told(
    adata: AnnData, snapshots: _anndata.Snapshots, time_key: str, time_map: Mapping[Any, float] | None, **columns: Any
) -> dict[str, Any]:
    """Parameters of what the user has told of the cells; ``columns``: of ``obs``, by argument, `None` if not given."""
    params: dict[str, Any] = {name: column for name, column in columns.items() if column is not None}
    if time_map is not None:
        # two arrays: labels may hold what the name of an entry may not
        labels, first = np.unique(adata.obs[time_key].astype(str).to_numpy(dtype=str), return_index=True)
        params["time_map_labels"], params["time_map_values"] = labels, snapshots.time[first]
    if snapshots.given is not None:
        params["totals"] = snapshots.given
    if snapshots.conditions is not None:
        params["conditions"] = np.asarray(snapshots.conditions.names, dtype=str)
        params["condition_sampled"] = snapshots.conditions.sampled
    return params


def joined_plans(couplings: Sequence[Coupling], rows: Sequence[np.ndarray], n_obs: int) -> csr_matrix:
    """All plans as one matrix in the order of the object, without entries too small to matter."""
    parts, index = [], get_index_dtype(maxval=n_obs)  # of 4 bytes, as the matrix has it
    numbers = [cells.astype(index) for cells in rows]
    for coupling, source, target in zip(couplings, numbers[:-1], numbers[1:], strict=True):
        plan = coupling.plan.tocoo()
        row_share = plan.data / coupling.plan.sum(axis=1)[plan.row]
        column_share = plan.data / coupling.plan.sum(axis=0)[plan.col]
        keep = (row_share > STORED_SHARE) | (column_share > STORED_SHARE)
        parts.append((plan.data[keep].astype(np.float32), source[plan.row[keep]], target[plan.col[keep]]))
    data, i, j = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_matrix((data, (i, j)), shape=(n_obs, n_obs))


def tell_of_clones(clones: np.ndarray, rows: Sequence[np.ndarray], clone_key: str) -> None:
    """Say how many cells have a barcode, and how many clones were seen once and bind nothing."""
    seen = [np.unique(clones[cells][clones[cells] >= 0]) for cells in rows]
    _, n_times = np.unique(np.concatenate(seen), return_counts=True)
    logger.info(
        "obs[%r]: %d of %d cells have a barcode; %d of %d clones were seen at one time point alone and say nothing",
        clone_key, sum(int((clones[cells] >= 0).sum()) for cells in rows), sum(map(len, rows)),
        int((n_times == 1).sum()), len(n_times),
    )  # fmt: skip


def tell_of_starts(sampling: _anndata.Sampling) -> None:
    """Warn of conditions that have no starting cells of their own, at the line that called the tool."""
    conditions = sampling.conditions
    if conditions is None or conditions.sampled[:, 0].all():
        return
    without, having = (
        [name for name, at_first in zip(conditions.names, conditions.sampled[:, 0], strict=True) if at_first == has]
        for has in (False, True)
    )
    start, totals = sampling.time_points[0], [float(sampling.under(name).totals[0]) for name in without]
    msg = (
        f"obs[{conditions.key!r}]: {without} have no cells at the first time, {start:g}. They start from the "
        f"{len(sampling.rows[0])} cells of {having} there, with totals of {totals}."
    )
    warnings.warn(msg, UserWarning, stacklevel=3)


def samples_told(snapshots: _anndata.Snapshots) -> pd.DataFrame | None:
    """The table of samples; warns, at the line that called the tool, of what makes them of little use."""
    samples, groups, conditions = snapshots.samples, snapshots.groups(), snapshots.conditions
    if samples is None:
        return None
    table = samples.table(groups, snapshots.time_points, snapshots.x, None if conditions is None else conditions.names)
    by = ["time"] if conditions is None else ["time", "condition"]
    each = table.groupby(by, sort=False)["between"].agg(["size", "first"])
    where, alone = f"obs[{samples.key!r}]", each["size"] == 1
    if alone.all():
        msg = (
            f"{where}: every time point has one sample{'' if conditions is None else ' of a condition'}, so what "
            "differs between samples cannot be separated from what changes with time. Models of an ensemble resample "
            "cells in place of samples, and their spread does not show how much samples differ."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)
    elif alone.any():
        msg = (
            f"{where}: one sample alone at {_names(each.index[alone])}. Models of an ensemble draw its cells again "
            "there, and their spread shows less of the differences between samples."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)
    apart = each["first"] > MOST_BETWEEN
    if apart.any():
        found = ", ".join(f"{share:.0%} at {_names([at])}" for at, share in each.loc[apart, "first"].items())
        msg = (
            f"{where}: much of the variance lies between samples of one time, {found}. Batch effects look like this, "
            "and so do samples of different composition. If they are batches, integrate the samples first (for example "
            "with scvi-tools or harmony) and fit the integrated representation."
        )
        warnings.warn(msg, UserWarning, stacklevel=3)
    return table


def _names(groups: Iterable[Any]) -> str:
    """Times, with their conditions if there are any, as an error lists them."""
    each = [f"{at[0]:g} ({at[1]})" if isinstance(at, tuple) else f"{at:g}" for at in groups]
    return ", ".join(each[:MOST_NAMED]) + (", ..." if len(each) > MOST_NAMED else "")


def warn(couplings: Mapping[str, np.ndarray], history: Mapping[str, Any], time_points: np.ndarray) -> None:
    """Say which couplings did not converge, and whether the fitting stage broke off; and what to change."""
    start, stop = couplings.get("time", time_points[:-1]), couplings.get("to", time_points[1:])
    for k in np.flatnonzero(~couplings["converged"] & couplings["solved"]):
        of_which = f" of condition {str(couplings['condition'][k])!r}" if "condition" in couplings else ""
        msg = (
            f"The coupling{of_which} from {start[k]:g} to {stop[k]:g} did not converge: its marginals miss "
            f"{couplings['marginal_error'][k]:.1e} of the mass after {couplings['n_iter'][k]} iterations. Raise "
            "eps, for example method=vgfm_sc.methods.vgfm(eps=0.01)."
        )
        warnings.warn(msg, RuntimeWarning, stacklevel=3)
    loss = history.get("fitting", {}).get("loss", np.zeros(1))
    if not np.isfinite(loss[-1:]).all():
        msg = f"The fitting loss is not finite at step {len(loss) - 1}; the best model before it is kept. Lower fit_lr."
        warnings.warn(msg, RuntimeWarning, stacklevel=3)
