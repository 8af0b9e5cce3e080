from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from anndata import AnnData
from tqdm.auto import tqdm

from vgfm_sc import _anndata, _checks, methods
from vgfm_sc.core import device as devices
from vgfm_sc.core import jobs
from vgfm_sc.core.cost import probe
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.training.settings import Settings
from vgfm_sc.tl import _arguments, _entries, _models, _progress

logger = logging.getLogger(__name__)


def fit(
    adata: AnnData,
    time_key: str,
    *,
    use_rep: str | None = "X_pca",
    layer: str | None = None,
    genes: Sequence[str] | str | None = None,
    method: str | methods.Method = "vgfm",
    time_map: Mapping[Any, float] | None = None,
    mass: str | Mapping[Any, Any] = "counts",
    growth_prior: str | None = None,
    clone_key: str | None = None,
    condition_key: str | None = None,
    sample_key: str | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool | None = None,
    key_added: str = "vgfm",
    copy: bool = False,
    width: int = 128,
    depth: int = 4,
    match_steps: int = 3500,
    match_size: int = 256,
    match_lr: float = 0.016,
    fit_steps: int = 200,
    fit_cells: int = 1024,
    fit_lr: float = 0.001,
    mass_weight: float = 1.0,
    patience: int | None = 60,
    score: bool = True,
    validation: float = 0.0,
    n_models: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
) -> AnnData | None:
    """Learn how cells move and multiply from a time course of unpaired, unbalanced snapshots.

    Neighbouring snapshots are coupled by semi-relaxed optimal transport, a velocity and a growth network are
    regressed on the coupled paths, and both are refined by simulating from the first snapshot and comparing with the
    later ones (VGFM, :cite:p:`Wang25`, sections 4 and 5). Populations are compared by energy distance, which does not
    reward them for shrinking. A third network learns the score, the gradient of the log density, for
    `vgfm_sc.tl.simulate` with noise.

    Growth is measured against population sizes. By default each cell counts as mass 1: the numbers of cells per time
    point are read as relative sizes, and where they only reflect how many cells were loaded, growth shows that, not
    biology. Where the sizes are known, ``mass`` takes them; what is known of single cells, ``growth_prior``.

    The defaults need no tuning for scale: the representation is centred and divided by one number, times by the mean
    interval, and all that is written is in your own units.

    Some results mislead, such as growth at forks or from few cells: see :doc:`When not to trust it </trust>`.

    Parameters
    ----------
    adata
        Annotated data with all time points, or a MuData with times and a joint representation at its top level. ``X``
        is used in gene space alone.
    time_key
        Column of ``obs`` with the sampling times: numbers, numeric strings or categories of either.
    use_rep
        Key of ``obsm``: array, DataFrame, sparse or dask, shape ``(n_obs, d)``. `None` fits in gene space, to
        normalised, log-transformed expression.
    layer
        With ``use_rep=None``: layer that holds the expression, dense or sparse; `None` is ``X``.
    genes
        With ``use_rep=None``: names of genes, or a boolean column of ``var`` such as ``"highly_variable"``; `None`
        takes all. Their expression is held dense, in float64.
    method
        ``"vgfm"``, ``"otcfm"`` (balanced transport, growth alike for all cells), ``"wfr"`` (Wasserstein-Fisher-Rao),
        ``"manifold"`` (paths that keep to the data) or a `vgfm_sc.methods.Method`.
    time_map
        Values of ``obs[time_key]`` to numbers, for labels such as ``"E8.5"``. Wherever a call takes a time, a string is
        then a label and a number is a time; a number that could be both is refused.
    mass
        Population sizes: ``"counts"``, the numbers of cells; ``"equal"``, the same at every time point, where numbers
        of cells mean nothing: growth is then gain and loss of share; ``{time: total}``, with times as numbers or as
        labels of ``time_map``; or a column of ``obs`` that holds one total for each time point. Only their ratios
        matter. The cells of a time point share its total equally. With ``condition_key``, totals are those of a
        condition: ``{condition: {time: total}}``, or a column with one for each condition and time point.
    growth_prior
        Column of ``obs`` with the growth expected of each cell per unit of time, as far as it is known beforehand. The
        coupling starts from it, and the data can override it; a smaller ``rho`` lets them override it more.
        Only differences between cells of a time point matter; not with ``"otcfm"``. Where growth is shared by all
        times, as by default, an interval goes by the cells at both its ends, those of the last time among them.
    clone_key
        Column of ``obs`` with lineage barcodes: categories, strings or integers that cells of one clone share, missing
        in cells without one. A cell is then coupled to cells of its own clone rather than to those without a barcode,
        and to these rather than to other clones, in every interval at both ends of which its clone was seen. Barcodes
        may be wrong: another clone costs more but stays possible. Clones seen at one time alone are ignored.
    condition_key
        Column of ``obs`` with conditions, such as control and treated: categories, strings, booleans or integers stored
        as categories. Each condition is a time course of its own, with its own couplings, totals and population sizes;
        the networks are the same for all and take the condition as an input. All that is written of a cell is that of
        its own condition; tools take ``condition`` to ask for another. A condition without cells at the first time
        starts from those of the others there, and a warning says so.
    sample_key
        Column of ``obs`` with samples, such as animals or cultures, of the types that ``condition_key`` takes. The same
        label at several times means one sample followed over time; give animals that were killed a label each. The
        total of a time point is then the mean over its samples, so more samples do not count as more cells; a column
        named by ``mass`` holds one total for each sample and time. The models of an ensemble are trained on resampled
        samples instead of cells, so their spread covers the variation between animals.
    device
        ``"auto"`` takes cuda, else mps, else cpu; or a device as torch names it.
    seed
        Of everything random. On a CPU with the same number of threads, the same seed gives the same result to the last
        bit. Elsewhere sums are taken in another order, and CUDA cuts large snapshots into fewer parts than other
        devices do before it couples them.
    progress
        Show progress bars, with the time left of the whole fit. `None` does unless ``scanpy.settings.verbosity`` is
        ``"error"``. Before a fit of more than a minute or 2 GB, an estimate of its time and memory is also logged at
        level INFO. It is made from the sizes of the data and from a few operations timed on the device, and may be off
        by a factor of 2. It counts all parts of a fit, even if some are found in ``checkpoint``, and takes a coupling
        of your own to cost as much as that of ``"otcfm"``.
    key_added
        Name of the results.
    copy
        Return a changed copy and leave ``adata`` as it is.
    width, depth
        Units per hidden layer, and hidden layers, of the velocity network; that of growth is half as wide and a layer
        less deep.
    match_steps, match_size, match_lr
        Steps of the matching stage, pairs per step (shared by the intervals), highest learning rate. With fewer than
        3 cells per time point for each dimension and interval, the rate is lower, by half at most.
    fit_steps, fit_cells, fit_lr
        Steps of the fitting stage (0 leaves it out), cells per snapshot and step, highest learning rate. The result
        is never worse, by the energy distance on fixed cells, than that of the matching stage. Without ``validation``
        no step is taken where that distance is so small already that fitting makes no difference.
    mass_weight
        Weight of the squared relative mass error beside the energy distance, in units of the data's spread, in the
        fitting stage.
    patience
        End the fitting stage when the energy distance has not improved by 3% for so many steps; `None` never does.
    score
        Learn the score too, the gradient of the log density, which runs with noise and landscapes need. It takes a
        third of the time of the matching stage.
    validation
        Share of the cells of each time point kept out of training, on which the fitting stage is judged. At 0 it is
        judged on cells that it trains on. Totals are those of all cells.
    n_models
        Above 1, an ensemble: the model itself and ``n_models - 1`` more, each of which couples and trains on cells
        drawn again with replacement, or samples with ``sample_key``. Their spread is what other cells might change, in
        growth also by the counts of cells at each time point unless ``mass`` gives totals. Takes so many times as long,
        unless a ``joblib.parallel_config`` around the call spreads the models over processes or machines, which does
        not change them.
    checkpoint
        Folder in which couplings and the networks after each stage are kept as soon as they are done, and the state of
        a stage that is under way every 30 seconds and when the call is interrupted. The same call after a break goes on
        from there and gives the same result as without a break; a call with other cells or settings does not find
        them. For long fits; delete the folder when you have saved the result. A coupling or path that you wrote as a
        function is known by its code and all that it carries: defaults, what it encloses or ``functools.partial``
        binds, and what it names in its own module.

    Returns
    -------
    `None` if ``copy=False``, else a changed copy. Sets the following fields:

    ``adata.obsm["vgfm_velocity_pca"]`` : :class:`numpy.ndarray` (float32, shape ``(n_obs, d)``)
        Velocity at the cell and its own time, in units of the representation per unit of ``time_key``. The name
        ends as ``use_rep`` does. In gene space it ends in ``genes``, and the columns are
        ``uns["vgfm"]["params"]["genes"]``.
    ``adata.obs["vgfm_growth"]`` : :class:`pandas.Series` (float32)
        Growth rate d log m / dt per unit of ``time_key``. A population grows ``exp(growth)``-fold per unit time.
    ``adata.obs["vgfm_mass"]`` : :class:`pandas.Series` (float32)
        Mass the coupling sends on from the cell to the next time point, per unit it holds; NaN at the last and in
        cells held out.
    ``adata.obs["vgfm_growth_sd"]``, ``adata.obs["vgfm_velocity_sd"]`` : :class:`pandas.Series` (float32)
        With ``n_models`` above 1: standard deviation of growth over the models, of which `vgfm_sc.tl.growth_error`
        makes an error bar; root mean squared distance of their velocities from the mean one.
    ``adata.obsp["vgfm_coupling"]`` : :class:`scipy.sparse.csr_matrix` (float32, shape ``(n_obs, n_obs)``)
        Mass sent from the row's cell to the column's cell of the next time point, in masses of a cell of the first;
        see `vgfm_sc.get.couplings`.
    ``adata.uns["vgfm"]`` : :class:`dict`
        Parameters, time points, scaling, history, convergence of each coupling, network weights, package version. With
        ``n_models`` above 1 also ``ensemble``, the weights of the further models by their number, from 1.
        Where the fitting stage ended because its loss left the finite numbers, ``history["fitting"]["loss"]`` ends in
        it. A coupling that did not converge says so in ``couplings["converged"]``; ``couplings["rho_factor"]`` says how
        many times ``rho`` its penalty was. Where your own coupling returned a plan without a report,
        ``couplings["converged"]`` and ``couplings["solved"]`` are `False`. With ``condition_key``, ``couplings`` also
        holds ``condition``, ``time`` and ``to`` of each. With ``sample_key``,
        ``samples["table"]`` has a row for each sample of a time point: ``sample``, ``condition``, ``time``, ``cells``,
        ``size`` (its total) and ``between``, the share of the variance of the time point that lies between samples;
        ``samples["drawn"]`` says how often each was drawn for each further model, -1 where its cells were.

    Warns
    -----
    UserWarning
        Expression that looks like counts, an embedding made for the eye, or a condition that starts from the cells of
        others. One sample alone at a time point, or more than a tenth of the variance between samples of one.
    RuntimeWarning
        A coupling that did not converge, or a fitting loss that is not finite.

    Raises
    ------
    KeyError
        ``time_key``, ``use_rep``, ``layer``, a gene, or the column of ``mass``, ``growth_prior``, ``clone_key``,
        ``condition_key`` or ``sample_key`` is missing.
    TypeError, ValueError
        Times, representation, totals, prior, barcodes, conditions, samples, method, device or ``key_added`` cannot be
        used, or your own coupling returned a plan whose columns do not sum to the target masses; the message says why.
    FloatingPointError
        Training left the finite numbers. ``adata`` is not changed, whatever the error.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")

    In gene space, with populations known to double from each time to the next:

    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None, mass={0: 1, 1: 2, 2: 4, 3: 8, 4: 16})

    Treated cells beside control cells:

    >>> adata = vgfm_sc.datasets.branching(treatment="growth")
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state", condition_key="condition")
    >>> adata.obs.groupby(["condition", "cell_type"], observed=True)["vgfm_growth"].mean()
    """
    _anndata.check_key(key_added)
    representation = _anndata.Representation.chosen(adata, use_rep, layer, genes)
    snapshots = _anndata.read_snapshots(adata, time_key, representation, time_map, mass, condition_key, sample_key)
    keys = _anndata.Keys.of(key_added, representation.name)
    chosen, place = _arguments.check_method(method), devices.choose(device)
    prior = _arguments.read_prior(adata, growth_prior, snapshots, chosen)
    clones = _arguments.read_clones(adata, clone_key, snapshots, chosen)
    settings = Settings(
        width=width,
        depth=depth,
        match_steps=match_steps,
        match_size=match_size,
        match_lr=match_lr,
        fit_steps=fit_steps,
        fit_cells=fit_cells,
        fit_lr=fit_lr,
        mass_weight=mass_weight,
        patience=patience,
        score=score,
        seed=seed,
    )
    _arguments.check_validation(validation)
    _checks.whole("n_models", n_models)
    _arguments.warn_of_space(representation, snapshots.x)
    _entries.tell_of_starts(snapshots)
    sampled = _entries.samples_told(snapshots)
    stale = _anndata.check_free(adata, keys, n_models)
    sampling, out = _models.held_out(snapshots.sampling, validation, seed)
    if copy:
        adata = adata.to_memory() if isinstance(adata, AnnData) and adata.isbacked else adata.copy()

    began, progress = time.perf_counter(), _arguments.shown(progress)
    scaling = Scaling.of(snapshots.x, snapshots.time_points)
    _arguments.check_units(scaling, snapshots.time_points)
    for course in sampling.courses().values():
        _arguments.check_sigma(chosen, scaling, course.time_points)
    cells = [[len(rows) for rows in course.rows] for course in sampling.courses().values()]
    alone, folder = jobs.one_by_one(n_models), None if checkpoint is None else os.fspath(checkpoint)
    cost = None
    if progress or logger.isEnabledFor(logging.INFO):
        cost = probe.foreseen(cells, scaling.n_axes, chosen, settings, place)
    if cost is not None:
        _progress.tell(cost, n_models, place)
    recipe = _models.Recipe(
        sampling=sampling,
        counted=snapshots.rows,
        out=out,
        prior=prior,
        clones=clones,
        scaling=scaling,
        method=chosen,
        settings=settings,
        device=str(place),
        progress=_progress.Progress(cost, n_models) if progress and alone else None,
        checkpoint=folder,
    )
    models = []
    with tqdm(total=n_models, desc="models", disable=alone or not progress) as bar:
        for model in jobs.each(_models.fitted_model, [(k, recipe, snapshots.x) for k in range(n_models)]):
            _entries.warn(model.convergence, model.history, snapshots.time_points)
            models.append(model)
            bar.update()

    params: dict[str, Any] = {
        "time_key": time_key,
        **representation.params(),
        "method": chosen.name,
        "method_settings": dict(chosen.settings),
        "device": str(place),
        "validation": validation,
        "n_models": n_models,
    }
    columns = {"growth_prior": growth_prior, "clone_key": clone_key}
    columns |= {"condition_key": condition_key, "sample_key": sample_key}
    params |= {**_entries.told(adata, snapshots, time_key, time_map, **columns), **settings.stored()}
    entries = _entries.of_fit(models, keys, sampling, params, scaling, sampled)
    _anndata.write(adata, entries, remove=stale)
    logger.info(
        "fitted %d cells at %d time points on %s in %.0f s; added %s",
        len(snapshots.x), len(sampling.rows), place, time.perf_counter() - began,
        ", ".join(f"{slot}[{name!r}]" for slot, name in keys.slots(n_models)),
    )  # fmt: skip
    return adata if copy else None
