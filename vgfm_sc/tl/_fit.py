from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from scipy.sparse import csr_matrix
from tqdm.auto import tqdm

import vgfm_sc
from vgfm_sc import _anndata, methods
from vgfm_sc.core import device as devices
from vgfm_sc.core import state, training
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.model import Model
from vgfm_sc.core.scaling import Scaling

STORED_SHARE = 1e-6
"""Entries of a coupling below this share of their row and of their column are not stored."""


def fit(
    adata: AnnData,
    time_key: str,
    *,
    use_rep: str = "X_pca",
    method: str | methods.Method = "vgfm",
    time_map: Mapping[Any, float] | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str = "vgfm",
    copy: bool = False,
    width: int = 128,
    depth: int = 4,
    match_steps: int = 1000,
    match_size: int = 256,
    match_lr: float = 0.05,
    fit_steps: int = 40,
    fit_cells: int = 1024,
    fit_lr: float = 0.005,
    mass_weight: float = 10.0,
) -> AnnData | None:
    """Learn how cells move and multiply from a time course of unpaired, unbalanced snapshots.

    Neighbouring snapshots are coupled by semi-relaxed optimal transport, a velocity and a growth network are
    regressed on the coupled paths, and both are refined by simulating from the first snapshot and comparing with the
    later ones (VGFM, :cite:p:`Wang25`, sections 4 and 5).

    Every cell counts as mass 1: the numbers of cells per time point are read as relative population sizes. Where
    they only reflect how many cells were loaded, growth shows that, not biology.

    The defaults need no tuning for scale: the representation is centred and divided by one number, times by the mean
    interval, and all that is written is in your own units.

    Parameters
    ----------
    adata
        Annotated data with all time points. ``X`` is not used.
    time_key
        Column of ``obs`` with the sampling times: numbers, numeric strings or categories of either.
    use_rep
        Key of ``obsm``: array, DataFrame, sparse or dask, shape ``(n_obs, d)``.
    method
        ``"vgfm"``, ``"otcfm"`` (balanced transport, growth alike for all cells) or a `vgfm_sc.methods.Method`.
    time_map
        Values of ``obs[time_key]`` to numbers, for labels such as ``"E8.5"``.
    device
        ``"auto"`` takes cuda, else mps, else cpu; or a device as torch names it.
    seed
        Of everything random. The same seed on the same device gives the same result.
    progress
        Show progress bars.
    key_added
        Name of the results.
    copy
        Return a changed copy and leave ``adata`` as it is.
    width, depth
        Units per hidden layer, and hidden layers, of both networks.
    match_steps, match_size, match_lr
        Steps of the matching stage, pairs per step (shared by the intervals), highest learning rate.
    fit_steps, fit_cells, fit_lr
        Steps of the fitting stage (0 leaves it out), cells per snapshot and step, highest learning rate. The result
        is never worse, by W1 and mass on fixed cells, than that of the matching stage.
    mass_weight
        Weight of the squared relative mass error beside W1 (in units of the data's spread) in the fitting stage.

    Returns
    -------
    `None` if ``copy=False``, else a changed copy. Sets the following fields:

    ``adata.obsm["vgfm_velocity_pca"]`` : :class:`numpy.ndarray` (float32, shape ``(n_obs, d)``)
        Velocity at the cell and its own time, in units of the representation per unit of ``time_key``. The name
        ends as ``use_rep`` does.
    ``adata.obs["vgfm_growth"]`` : :class:`pandas.Series` (float32)
        Growth rate d log m / dt per unit of ``time_key``. A population grows ``exp(growth)``-fold per unit time.
    ``adata.obs["vgfm_mass"]`` : :class:`pandas.Series` (float32)
        Mass the coupling sends on from the cell to the next time point, per unit it holds; NaN at the last.
    ``adata.obsp["vgfm_coupling"]`` : :class:`scipy.sparse.csr_matrix` (float32, shape ``(n_obs, n_obs)``)
        Mass sent from the row's cell to the column's cell of the next time point; see `vgfm_sc.get.couplings`.
    ``adata.uns["vgfm"]`` : :class:`dict`
        Parameters, time points, scaling, history, convergence of each coupling, network weights, package version.

    Raises
    ------
    KeyError
        ``time_key`` or ``use_rep`` is missing.
    TypeError, ValueError
        Times, representation, method, device or ``key_added`` cannot be used; the message says why.
    FloatingPointError
        Training left the finite numbers. ``adata`` is not changed, whatever the error.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    """
    _anndata.check_key(key_added)
    snapshots = _anndata.read_snapshots(adata, time_key, use_rep, time_map)
    keys = _anndata.Keys.of(key_added, use_rep)
    stale = _anndata.check_free(adata, keys)
    chosen, place = _method(method), devices.choose(device)
    numbers: dict[str, Any] = {
        "width": width,
        "depth": depth,
        "match_steps": match_steps,
        "match_size": match_size,
        "match_lr": match_lr,
        "fit_steps": fit_steps,
        "fit_cells": fit_cells,
        "fit_lr": fit_lr,
        "mass_weight": mass_weight,
    }
    _check_numbers(numbers, seed)
    if copy:
        adata = adata.to_memory() if adata.isbacked else adata.copy()

    scaling = Scaling.of(snapshots.x, snapshots.time_points)
    trained = training.train(
        [scaling.to_unitless(snapshots.x[rows]) for rows in snapshots.rows],
        [float(t) for t in scaling.to_unitless_time(snapshots.time_points)],
        chosen,
        **numbers,
        device=place,
        seed=seed,
        bar=lambda name, total: tqdm(total=total, desc=name, disable=not progress),
    )
    _warn_unconverged(trained.couplings, snapshots.time_points)

    velocity, growth = Model(trained.networks, scaling)(snapshots.time, snapshots.x)
    if not (np.isfinite(velocity).all() and np.isfinite(growth).all()):
        msg = "The trained networks give values that are not finite. Lower match_lr."
        raise FloatingPointError(msg)
    mass = np.full(adata.n_obs, np.nan, dtype=np.float32)
    for coupling, rows in zip(trained.couplings, snapshots.rows[:-1], strict=True):
        mass[rows] = coupling.row_mass
    params: dict[str, Any] = {
        "time_key": time_key,
        "use_rep": use_rep,
        "method": chosen.name,
        "seed": seed,
        "device": str(place),
    }
    if time_map is not None:
        # two arrays: labels may hold what the name of an entry may not
        labels, first = np.unique(adata.obs[time_key].astype(str).to_numpy(dtype=str), return_index=True)
        params["time_map_labels"], params["time_map_values"] = labels, snapshots.time[first]
    _anndata.write(
        adata,
        {
            ("obsm", keys.velocity): velocity.astype(np.float32),
            ("obs", keys.growth): growth.astype(np.float32),
            ("obs", keys.mass): mass,
            ("obsp", keys.coupling): _joined(trained.couplings, snapshots.rows, adata.n_obs),
            ("uns", keys.uns): {
                "package": _anndata.MARK,
                "version": vgfm_sc.__version__,
                "params": {**params, **numbers, "method_settings": dict(chosen.settings)},
                "time_points": snapshots.time_points,
                "scaling": scaling._asdict(),
                "couplings": {
                    name: np.asarray([getattr(c, name) for c in trained.couplings])
                    for name in ("converged", "n_iter", "marginal_error")
                },
                "history": trained.history,
                "weights": state.weights(trained.networks),
            },
        },
        remove=stale,
    )
    return adata if copy else None


def _method(method: str | methods.Method) -> methods.Method:
    if isinstance(method, methods.Method):
        return method
    named = {"vgfm": methods.vgfm, "otcfm": methods.otcfm}
    if not isinstance(method, str) or method not in named:
        msg = f"Unknown method {method!r}. Available: {list(named)}, or a `vgfm_sc.methods.Method` of your own."
        raise ValueError(msg)
    return named[method]()


def _check_numbers(numbers: Mapping[str, Any], seed: int) -> None:
    for name, value in {**numbers, "seed": seed}.items():
        whole = not name.endswith(("_lr", "_weight"))
        if isinstance(value, bool) or not isinstance(value, int | np.integer if whole else int | float | np.number):
            msg = f"{name} must be {'an integer' if whole else 'a number'}, got {value!r}."
            raise TypeError(msg)
        if name == "seed" and not 0 <= value < 2**63:
            msg = f"seed must lie between 0 and 2**63, got {value!r}."
            raise ValueError(msg)
        least = 0 if name in ("fit_steps", "mass_weight", "seed") else None
        if not np.isfinite(value) or (value < 0 if least == 0 else value <= 0):
            msg = f"{name} must be {'at least 0' if least == 0 else 'positive'}, got {value!r}."
            raise ValueError(msg)


def _warn_unconverged(couplings: list[Coupling], time_points: np.ndarray) -> None:
    for coupling, start, stop in zip(couplings, time_points[:-1], time_points[1:], strict=True):
        if not coupling.converged:
            msg = (
                f"The coupling from {start:g} to {stop:g} did not converge: its marginals miss "
                f"{coupling.marginal_error:.1e} of the mass after {coupling.n_iter} iterations. Raise eps, for "
                "example method=vgfm_sc.methods.vgfm(eps=0.01)."
            )
            warnings.warn(msg, RuntimeWarning, stacklevel=3)


def _joined(couplings: list[Coupling], rows: list[np.ndarray], n_obs: int) -> csr_matrix:
    """All plans as one matrix in the order of the object, without entries too small to matter."""
    parts = []
    for coupling, source, target in zip(couplings, rows[:-1], rows[1:], strict=True):
        plan = coupling.plan.tocoo()
        row_share = plan.data / coupling.plan.sum(axis=1)[plan.row]
        column_share = plan.data / coupling.plan.sum(axis=0)[plan.col]
        keep = (row_share > STORED_SHARE) | (column_share > STORED_SHARE)
        parts.append((plan.data[keep].astype(np.float32), source[plan.row[keep]], target[plan.col[keep]]))
    data, i, j = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_matrix((data, (i, j)), shape=(n_obs, n_obs))
