from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata
from vgfm_sc.core.reading import perturbation
from vgfm_sc.core.reading.effects import Effects, tested
from vgfm_sc.tl import _changes, _perturbations

POINTS_PER_INTERVAL = 10
"""Times at which growth is compared and trajectories are kept, in each interval between time points."""


def perturb(
    adata: AnnData,
    genes: Mapping[str, _changes.Wanted],
    cluster_key: str,
    *,
    held: bool = True,
    noise: float = 0.0,
    start: float | str | Sequence[int] | np.ndarray | None = None,
    n_cells: int = 200,
    n_replicates: int | None = None,
    condition: str | None = None,
    key: str = "vgfm",
    key_added: str | None = None,
    seed: int = 0,
    tol: float = 1e-4,
    device: str = "auto",
) -> pd.DataFrame:
    """Knock out, overexpress or otherwise change genes in starting cells, and compare their fates and growth.

    The same cells are followed twice to the last time point, as `vgfm_sc.tl.simulate` does: as they are, and with the
    genes changed. The change is carried into the representation by the loadings: each cell goes to the nearest position
    at which the genes have the values asked for. With ``held`` the genes stay at these values throughout, and velocity
    and growth are those of cells that have them; without, the genes are changed at the start and then move as the model
    says.

    The model has learnt how cells with more or less of a gene moved and grew, not what the gene does. The answer is
    right only if cells with other values of the gene differ in nothing else that matters. Genes that go together in
    all cells cannot be told apart, so a marker of a fate can look like its driver. A fit on genes (``use_rep=None``)
    separates more genes than a fit on components, which change many genes at once. Take an effect for a hypothesis
    that an experiment has to test.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit` on a PCA of this object or on genes, as for `vgfm_sc.tl.gene_velocity`.
    genes
        For each gene what it is set to: a value in units of the layer that the PCA or the fit was computed on;
        ``"knockout"``, 0, or the lowest value seen where expression has been centred; ``"overexpress"``, the 99%
        quantile over all cells; or a pair, ``("scale", 0.5)``, ``("shift", 1.0)``, ``("overexpress", 0.9)`` or
        ``("set", 0.0)``. Genes named together are changed together. On components, a number is the value that the model
        sees, but ``"knockout"`` and ``"overexpress"`` are the value that it sees, on average, in cells with that
        expression. That is nearer to the mean if the components carry little of the gene (``carried``).
    cluster_key
        Column of ``obs`` with the clusters of the last time point, the fates, as in `vgfm_sc.tl.fate`.
    held
        Keep the genes at these values through the run. `False` changes them at the start alone.
    noise
        Of random steps, as in `vgfm_sc.tl.simulate`. A cell takes the same steps with the change and without.
    start
        Which cells to change, as in `vgfm_sc.tl.simulate`: a time point (`None`: the first), or cells of one time
        point as a boolean mask or positions.
    n_cells
        Cells of each replicate, drawn with replacement.
    n_replicates
        Draws of cells, all followed by the model fitted to all cells. `None` is one draw for each model of an ensemble
        (``n_models`` of `vgfm_sc.tl.fit`), followed by that model; after a fit with one model 10 draws, and a warning.
    condition
        As in `vgfm_sc.tl.simulate`; the fates are clusters of cells of this condition.
    key
        The fit's ``key_added``.
    key_added
        Name under which the result is kept; `None` joins the names of the genes with ``+``.
    seed
        Of the draws and of the noise.
    tol
        Error allowed in one step of the integrator, as in `vgfm_sc.tl.simulate`.
    device
        Where to follow the cells, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    The effects, one row each:

    ``effect``, ``fate``
        ``"fate"`` for each cluster, named in ``fate``; ``"mass"``; and ``"energy"``.
    ``unchanged``, ``changed``
        Share of the descendants in the cluster; final mass of a cell, 1 at the start; for energy 0 and the distance.
    ``estimate``
        Mean over replicates of: the log ratio of shares, each with half a cell added, so that a fate that no cell
        reaches has one; the difference of log final mass; the energy distance between the two populations at the end,
        in units of the representation, without the directions of the changed genes themselves.
    ``low``, ``high``
        95% interval of the estimate, from the t distribution. With replicates of cells it covers **what another sample
        of starting cells would change, and nothing of what the model has learnt by chance**: most genes that do
        nothing then have an interval that leaves out 0. With the models of an ensemble it also covers another sample
        of cells to train on and another start of training. No interval covers what all models have in common, such as
        genes that cannot be told apart.
    ``t``, ``pvals``
        Of the estimate, and two-sided. `vgfm_sc.tl.screen` corrects for the number of genes.

    Sets the following field:

    ``adata.uns["vgfm"]["perturbations"][key_added]`` : :class:`dict`
        ``table``, as returned. ``genes``, a table of the genes with ``names``; ``before`` and ``after``, their mean
        values in the starting cells as the model sees them; and ``carried``, the share of the variance of the gene
        over all cells that the representation carries. ``replicates``, a table of the effects with the columns
        ``replicate``, ``effect``, ``fate`` and ``value``. ``growth``, a table of the population's growth rate, with
        ``time`` (middle of each step), ``unchanged``, ``changed``, their difference ``estimate``, and ``low``,
        ``high``, ``t``, ``pvals``; ``growth_replicates``, the differences, shape ``(n_replicates, n_steps)``.
        ``outside_start``, ``outside_end``: share of changed cells that are farther from the nearest observed cell of
        their time point than that one is from its 30th neighbour, at the start and at the end. ``times``,
        ``positions``, ``positions_changed``, ``mass``, ``mass_changed``: the first replicate as
        `vgfm_sc.tl.simulate` stores a run. ``held``; ``cluster_key``; ``of``: ``"cells"`` or ``"models"``, what
        replicates are.

    Raises
    ------
    KeyError
        No fit under ``key``; a representation that does not lead back to genes; a gene that is not there, with the
        nearest names, or not part of the representation; or no column ``cluster_key``.
    TypeError
        ``genes`` is no mapping, or the column holds numbers.
    ValueError
        A value cannot be used; the fit has no score and ``noise`` needs it; genes do not vary, or cannot be changed at
        once; ``start`` is the last time point or names fewer than 10 cells; the last time point has no clusters; or the
        matrix has changed since the PCA.

    Warns
    -----
    UserWarning
        A value lies outside what cells have; the representation carries less than 10% of a gene; or the fit has one
        model and ``n_replicates`` is not given.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.regulatory_network()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None, n_models=3)
    >>> vgfm_sc.tl.perturb(adata, {"driver_a": "knockout"}, "branch")
    """
    wanted = _changes.checked(genes)
    name = "+".join(wanted).replace("/", "_") if key_added is None else key_added
    _anndata.check_key(name)
    setting = _perturbations.prepared(
        adata,
        cluster_key,
        held=held,
        start=start,
        points=POINTS_PER_INTERVAL,
        noise=noise,
        n_cells=n_cells,
        n_replicates=n_replicates,
        condition=condition,
        key=key,
        seed=seed,
        tol=tol,
        device=device,
    )
    scaling, trial, group = setting.model.scaling, setting.trial, setting.groups[0]
    found = _changes.read(adata, wanted, setting.snapshots.x, scaling, key)
    change = _changes.change(found, found.names)
    _changes.warn(found, [change], group.x, scaling)
    setting.warn_of_one_model(n_replicates)

    before = perturbation.baseline(setting.groups, trial)
    effects = perturbation.perturbed(setting.groups, before, change, trial)
    table = setting.table(effects)
    first = group.x[group.counts[0] > 0]
    now, then = perturbation.courses(setting.model, first, change, trial)
    values = change.values(group.x, scaling)
    about = {"names": found.names, "before": values.mean(axis=0), "after": change.wanted(values).mean(axis=0)}
    n_replicates, n_effects = effects.values.shape
    each = {what: column * n_replicates for what, column in setting.columns().items()}
    result = {
        "table": table,
        "genes": pd.DataFrame({**about, "carried": found.carried}),
        "replicates": pd.DataFrame(
            {"replicate": np.repeat(np.arange(n_replicates), n_effects), **each, "value": effects.values.ravel()}
        ),
        **_growth(setting, effects),
        "outside_start": setting.outside_start(change),
        "outside_end": float(effects.outside.mean()),
        "times": np.asarray(trial.times),
        "positions": now.positions.astype(np.float32, copy=False),
        "positions_changed": then.positions.astype(np.float32, copy=False),
        "mass": now.mass.astype(np.float32, copy=False),
        "mass_changed": then.mass.astype(np.float32, copy=False),
        "held": held,
        "cluster_key": cluster_key,
        "of": setting.of,
    }
    kept = _anndata.read_result(adata, key).get("perturbations", {})
    _anndata.write_derived(adata, key, {}, perturbations={**kept, name: result})
    return table.copy()


def _growth(setting: _perturbations.Setting, effects: Effects) -> dict[str, pd.DataFrame | np.ndarray]:
    """The population's growth rate over time, unchanged and changed."""
    times = np.asarray(setting.trial.times)
    rates = np.diff(np.log(effects.mass), axis=2) / np.diff(times)
    differences = rates[:, 1] - rates[:, 0]
    middle = {"time": (times[:-1] + times[1:]) / 2}
    table = _perturbations.frame(middle, rates.mean(axis=0), tested(differences, setting.share))
    return {"growth": table, "growth_replicates": differences.astype(np.float32)}
