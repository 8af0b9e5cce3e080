from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from tqdm.auto import tqdm

import vgfm_sc
from vgfm_sc import _anndata, methods
from vgfm_sc.core import device as devices
from vgfm_sc.core import jobs
from vgfm_sc.core.scaling import Scaling
from vgfm_sc.tl import _arguments, _ensemble, _resample, _results


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
    match_steps: int = 1500,
    match_size: int = 256,
    match_lr: float = 0.05,
    fit_steps: int = 100,
    fit_cells: int = 1024,
    fit_lr: float = 0.005,
    mass_weight: float = 10.0,
    patience: int | None = 40,
    validation: float = 0.0,
    n_models: int = 1,
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
        Units per hidden layer, and hidden layers, of the velocity network; that of growth is half as wide and a layer
        less deep.
    match_steps, match_size, match_lr
        Steps of the matching stage, pairs per step (shared by the intervals), highest learning rate.
    fit_steps, fit_cells, fit_lr
        Steps of the fitting stage (0 leaves it out), cells per snapshot and step, highest learning rate. The result
        is never worse, by W1 on fixed cells, than that of the matching stage.
    mass_weight
        Weight of the squared relative mass error beside W1 (in units of the data's spread) in the fitting stage.
    patience
        End the fitting stage when W1 has not improved by 5% for so many steps; `None` never does.
    validation
        Share of the cells of each time point kept out of training, on which the fitting stage is judged. At 0 it is
        judged on cells that it trains on. Totals are those of all cells.
    n_models
        Above 1, an ensemble: the model itself and ``n_models - 1`` more, each of which couples and trains on cells
        drawn again with replacement. Their spread is what another sample of cells might change, in growth also by
        the counts of cells at each time point. Takes so many times as long, unless a ``joblib.parallel_config`` around
        the call spreads the models over processes or machines, which does not change them.

    Returns
    -------
    `None` if ``copy=False``, else a changed copy. Sets the following fields:

    ``adata.obsm["vgfm_velocity_pca"]`` : :class:`numpy.ndarray` (float32, shape ``(n_obs, d)``)
        Velocity at the cell and its own time, in units of the representation per unit of ``time_key``. The name
        ends as ``use_rep`` does.
    ``adata.obs["vgfm_growth"]`` : :class:`pandas.Series` (float32)
        Growth rate d log m / dt per unit of ``time_key``. A population grows ``exp(growth)``-fold per unit time.
    ``adata.obs["vgfm_mass"]`` : :class:`pandas.Series` (float32)
        Mass the coupling sends on from the cell to the next time point, per unit it holds; NaN at the last and in
        cells held out.
    ``adata.obs["vgfm_growth_sd"]``, ``adata.obs["vgfm_velocity_sd"]`` : :class:`pandas.Series` (float32)
        With ``n_models`` above 1: standard deviation of growth over the models; root mean squared distance of their
        velocities from the mean one.
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
    chosen, place = _arguments.check_method(method), devices.choose(device)
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
        "patience": patience,
    }
    _arguments.check_numbers({**numbers, "validation": validation, "n_models": n_models, "seed": seed})
    stale = _anndata.check_free(adata, keys, n_models)
    rows, out = snapshots.rows, None
    if validation:
        rows, out = _resample.held_out(rows, validation, snapshots.time_points, seed)
    if copy:
        adata = adata.to_memory() if adata.isbacked else adata.copy()

    scaling = Scaling.of(snapshots.x, snapshots.time_points)
    alone = jobs.one_by_one(n_models)
    recipe = _ensemble.Recipe(rows, out, scaling, chosen, numbers, str(place), seed, progress and alone)
    models = []
    with tqdm(total=n_models, desc="models", disable=alone or not progress) as bar:
        for model in jobs.each(_ensemble.model, [(k, recipe, *snapshots) for k in range(n_models)]):
            _results.warn_unconverged(model.convergence, snapshots.time_points)
            models.append(model)
            bar.update()
    main = models[0]

    mass = np.full(adata.n_obs, np.nan, dtype=np.float32)
    for coupling, cells in zip(main.couplings, rows[:-1], strict=True):
        mass[cells] = coupling.row_mass
    params: dict[str, Any] = {
        "time_key": time_key,
        "use_rep": use_rep,
        "method": chosen.name,
        "seed": seed,
        "device": str(place),
        "validation": validation,
        "n_models": n_models,
    }
    if time_map is not None:
        # two arrays: labels may hold what the name of an entry may not
        labels, first = np.unique(adata.obs[time_key].astype(str).to_numpy(dtype=str), return_index=True)
        params["time_map_labels"], params["time_map_values"] = labels, snapshots.time[first]
    params.update({name: value for name, value in numbers.items() if value is not None})
    entries: dict[tuple[str, str], Any] = {
        ("obsm", keys.velocity): main.velocity.astype(np.float32),
        ("obs", keys.growth): main.growth.astype(np.float32),
        ("obs", keys.mass): mass,
        ("obsp", keys.coupling): _results.joined_plans(main.couplings, rows, adata.n_obs),
        ("uns", keys.uns): {
            "package": _anndata.MARK,
            "version": vgfm_sc.__version__,
            "params": {**params, "method_settings": dict(chosen.settings)},
            "time_points": snapshots.time_points,
            "scaling": {name: value for name, value in scaling._asdict().items() if value is not None},
            "couplings": main.convergence,
            "history": main.history,
            "weights": main.weights,
        },
    }
    if n_models > 1:
        velocities, growths = (np.stack([getattr(m, name) for m in models]) for name in ("velocity", "growth"))
        entries["obs", keys.growth_sd] = growths.std(axis=0, ddof=1).astype(np.float32)
        entries["obs", keys.velocity_sd] = np.sqrt(velocities.var(axis=0, ddof=1).sum(axis=1)).astype(np.float32)
    _anndata.write(adata, entries, remove=stale)
    return adata if copy else None
