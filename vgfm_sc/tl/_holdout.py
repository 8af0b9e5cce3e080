from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core import device as devices
from vgfm_sc.methods import Method, otcfm
from vgfm_sc.tl import _arguments, _cells, _compared, _entries, _left_out, _predictions
from vgfm_sc.tl._baselines import baselines


def holdout(
    adata: AnnData,
    time_key: str,
    *,
    times: Sequence[float | str] | float | str | None = None,
    use_rep: str | None = "X_pca",
    layer: str | None = None,
    genes: Sequence[str] | str | None = None,
    method: str | Method = "vgfm",
    methods: Mapping[str, str | Method] | Sequence[str | Method] | None = None,
    time_map: Mapping[Any, float] | None = None,
    mass: str | Mapping[Any, float] = "counts",
    growth_prior: str | None = None,
    clone_key: str | None = None,
    condition_key: str | None = None,
    sample_key: str | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool | None = None,
    key_added: str = "vgfm",
    max_cells: int = 5000,
    tol: float = 1e-4,
    **fit_arguments: Any,
) -> pd.DataFrame:
    """Leave out time points one by one, predict them, and compare methods with each other and with simpler predictions.

    For each time point left out, models are fitted on all others, and the cells of the time point before it are
    simulated up to it. No model has seen the cells that it is compared with, so the scores count: ``energy`` should be
    low and ``spread`` near 1. A ``joblib.parallel_config`` around the call spreads the fits over processes or machines,
    which does not change them.

    Parameters
    ----------
    adata
        Annotated data with at least three time points.
    time_key, use_rep, layer, genes, time_map, mass, growth_prior, clone_key, condition_key, sample_key
        As in `vgfm_sc.tl.fit`.
    device, seed, progress
        As in `vgfm_sc.tl.fit`; the baseline ``"otcfm"`` is told neither of ``growth_prior`` nor of ``clone_key``. With
        ``condition_key``, a time point is left out of all conditions at once, and each is predicted.
    times
        Time points to leave out, as numbers or by their labels in ``time_map``, each between others; all that are by
        default. With ``condition_key`` they are between others, and have cells, in every condition.
    method
        What is compared with the baselines, as in `vgfm_sc.tl.fit`.
    methods
        Several methods to compare, in place of ``method``: a list, each under its own ``name``, or a mapping of names
        to methods. Every method is fitted once for each time point left out. ``growth_prior`` and ``clone_key`` go
        to the methods that take them.
    key_added
        The scores are kept in ``uns["<key_added>_holdout"]``.
    max_cells
        Distances, and the plan of ``"linear"``, take at most this many cells a side, drawn at random.
    tol
        Error allowed in one step of the integrator, as a share of the data's spread.
    **fit_arguments
        Further arguments of `vgfm_sc.tl.fit`, for all models; not ``copy`` or ``n_models``.

    Returns
    -------
    One row for each time point left out, each condition, if there are several, and each prediction; kept in
    ``uns["vgfm_holdout"]["scores"]`` for `vgfm_sc.pl.holdout` unless ``adata`` is a view:

    ``condition``
        Its name, with ``condition_key``.
    ``time``, ``prediction``
        The time point; the name of a method, or a baseline: ``"otcfm"`` (balanced optimal-transport flow matching,
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
        ``times`` holds a time that is not between others; two of ``methods`` have one name, or both ``method`` and
        ``methods`` are given.
    KeyError, TypeError, ValueError, FloatingPointError
        As `vgfm_sc.tl.fit`.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> scores = vgfm_sc.tl.holdout(adata, "time", use_rep="X_genes", times=[1, 2])
    >>> scores.pivot(index="time", columns="prediction", values="energy")

    Two settings side by side:

    >>> two = {"drift": vgfm_sc.methods.vgfm(), "no drift": vgfm_sc.methods.vgfm(drift_rho=None)}
    >>> vgfm_sc.tl.holdout(adata, "time", use_rep="X_genes", times=2, methods=two)
    """
    _anndata.check_key(key_added)
    slot = ("uns", f"{key_added}_holdout")
    representation = _anndata.Representation.chosen(adata, use_rep, layer, genes)
    snapshots = _anndata.read_snapshots(adata, time_key, representation, time_map, mass, condition_key, sample_key)
    _anndata.check_holdout(adata, key_added)
    if methods is not None and method != "vgfm":
        msg = "Both method and methods are given. Put all methods to compare into methods."
        raise ValueError(msg)
    compared = _compared.named([method] if methods is None else methods, "method" if methods is None else "methods")
    _checks.real("tol", tol)
    _checks.whole("max_cells", max_cells, least=2)
    _checks.seed(seed)
    _left_out.check_fit_arguments(fit_arguments)
    told = _left_out.told(adata, snapshots, compared, growth_prior, clone_key)
    left_out = _left_out.between_others(snapshots, times)
    _left_out.warn_if_seen(representation, snapshots, left_out)

    arguments = {**fit_arguments, "device": str(devices.choose(device)), "seed": seed}
    models = {**compared} if "otcfm" in compared else {**compared, "otcfm": otcfm()}
    each, shown = [[int(k)] for k in left_out], _arguments.shown(progress)
    simulated: dict[Any, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, predicted in _predictions.by_models(snapshots, each, models, told, arguments, tol, shown):
        for left, cells in predicted.cells.items():
            simulated.setdefault(left, {})[name] = cells
        if predicted.elsewhere:
            _entries.warn(**predicted.fit)
    table = []
    for left, predictions in simulated.items():
        k, condition = (left, None) if snapshots.conditions is None else left
        rng, course = np.random.default_rng([seed, k]), snapshots.under(condition)
        j = _cells.place(course, snapshots.time_points[k])
        every = {**predictions, **baselines(course, j, max_cells, rng)}
        rows = _predictions.scores(course, j, every, max_cells, rng)
        table += rows if condition is None else [{"condition": condition, **row} for row in rows]
    scores = pd.DataFrame(table)
    if not adata.is_view:
        _anndata.write(adata, {slot: {"package": _anndata.MARK, "scores": scores}})
    return scores
