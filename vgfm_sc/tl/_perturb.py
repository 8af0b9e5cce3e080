from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata
from vgfm_sc.core.reading import perturbation
from vgfm_sc.tl import _cells, _changes, _perturbations

POINTS_PER_INTERVAL = 10
"""Times at which growth is compared and trajectories are kept, in each interval between time points."""


def perturb(
    adata: AnnData,
    genes: Mapping[str, _changes.Wanted],
    cluster_key: str,
    *,
    held: bool = True,
    start: float | str | Sequence[int] | np.ndarray | None = None,
    n_cells: int = 200,
    n_replicates: int | None = None,
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

    The model has learnt how cells with more or less of a gene moved and grew, not what the gene does. A change gives
    the right answer as far as cells with other values of the gene differ by nothing else that matters. Genes that go
    together in all cells cannot be told apart, and a component moves many genes at once: a marker of a fate can look
    like its driver. A fit on genes (``use_rep=None``) separates more than a fit on components, and an effect is a
    hypothesis for an experiment.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit` on a PCA of this object or on genes, as for `vgfm_sc.tl.gene_velocity`.
    genes
        For each gene what it is set to: a value in units of the layer that the PCA or the fit was computed on;
        ``"knockout"``, 0, or the lowest value seen where expression has been centred; ``"overexpress"``, the 99%
        quantile over all cells; or a pair, ``("scale", 0.5)``, ``("shift", 1.0)``, ``("overexpress", 0.9)`` or
        ``("set", 0.0)``. Genes named together are changed together.
    cluster_key
        Column of ``obs`` with the clusters of the last time point, the fates, as in `vgfm_sc.tl.fate`.
    held
        Keep the genes at these values through the run. `False` changes them at the start alone.
    start
        Which cells to change, as in `vgfm_sc.tl.simulate`: a time point (`None`: the first), or cells of one time
        point as a boolean mask or positions.
    n_cells
        Cells of each replicate, drawn with replacement.
    n_replicates
        Draws of cells, all followed by the model fitted to all cells. `None` is 10 after a fit with one model. After a
        fit with ``n_models`` above 1 it is one draw for each model, followed by that model.
    key
        The fit's ``key_added``.
    key_added
        Name under which the result is kept; `None` joins the names of the genes with ``+``.
    seed
        Of the draws.
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
        of starting cells would change, and nothing of what the model may have learnt wrong**: a small effect of a gene
        that does nothing may well lie outside 0. With the models of an ensemble it also covers another sample of cells
        to train on and another start of training. No interval covers what all models have in common, such as genes
        that cannot be told apart.
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
        A value cannot be used; genes do not vary, or cannot be changed at once; ``start`` is the last time point or
        names fewer than 10 cells; the last time point has no clusters; or the matrix has changed since the PCA.

    Warns
    -----
    UserWarning
        A value lies outside what cells have, or the representation carries less than 10% of a gene.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.regulatory_network()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None)
    >>> vgfm_sc.tl.perturb(adata, {"driver_a": "knockout"}, "branch")
    """
    wanted = _changes.checked(genes)
    name = "+".join(wanted).replace("/", "_") if key_added is None else key_added
    _anndata.check_key(name)
    setting = _perturbations.prepared(adata, cluster_key, start, n_cells, n_replicates, key, seed, tol, device)
    scaling, x = setting.model.scaling, setting.snapshots.x
    found = _changes.read(adata, list(wanted), x, scaling, key)
    change = _changes.change(found, wanted)
    group = setting.groups[0]
    _changes.warn(found, [change], group.x, scaling)

    grid = _grid(setting)
    before = setting.run(grid, tol, seed)
    effects = perturbation.perturbed(setting.groups, before, change, grid, setting.ends, held=held, tol=tol, seed=seed)
    values, unchanged = _perturbations.of_replicates(effects), setting.unchanged(before)
    columns = setting.columns()
    tested = perturbation.tested(values, setting.share)
    table = _perturbations.frame(columns, unchanged, _perturbations.changed(effects, unchanged), tested)

    first = group._replace(x=group.x[group.counts[0] > 0])
    moved = change.made(first.x, scaling)
    there = setting.snapshots.x[setting.snapshots.rows[_cells.place(setting.snapshots, setting.first)]]
    away = perturbation.outside(change.made(group.x, scaling), there, scaling, seed)
    positions, mass = group.model.simulate(first.x, grid, tol=tol)
    directions = change.directions if held else None
    positions_changed, mass_changed = group.model.simulate(moved, grid, tol=tol, held=directions)
    about = {"names": found.names, "carried": found.carried}
    now = change.values(group.x, scaling)
    about |= {"before": now.mean(axis=0), "after": change.wanted(now).mean(axis=0)}
    result = {
        "table": table,
        "genes": pd.DataFrame(about)[["names", "before", "after", "carried"]],
        "replicates": pd.DataFrame(
            {
                "replicate": np.repeat(np.arange(len(values)), values.shape[1]),
                **{name: column * len(values) for name, column in columns.items()},
                "value": values.ravel(),
            }
        ),
        **_growth(setting, before, effects, grid),
        "outside_start": float(np.average(away, weights=group.counts.sum(axis=0))),
        "outside_end": float(effects.outside.mean()),
        "times": grid,
        "positions": positions.astype(np.float32),
        "positions_changed": positions_changed.astype(np.float32),
        "mass": mass.astype(np.float32),
        "mass_changed": mass_changed.astype(np.float32),
        "held": held,
        "cluster_key": cluster_key,
        "of": setting.replicates,
    }
    kept = _anndata.read_result(adata, key).get("perturbations", {})
    _anndata.write_derived(adata, key, {}, perturbations={**kept, name: result})
    return table.copy()


def _grid(setting: _perturbations.Setting) -> np.ndarray:
    points = setting.snapshots.time_points
    later = np.concatenate([[setting.first], points[points > setting.first]])
    parts = [np.linspace(a, b, POINTS_PER_INTERVAL + 1)[1:] for a, b in zip(later[:-1], later[1:], strict=True)]
    return np.concatenate([[setting.first], *parts])


def _growth(
    setting: _perturbations.Setting,
    before: list[perturbation.Run],
    effects: perturbation.Effects,
    grid: np.ndarray,
) -> dict[str, pd.DataFrame | np.ndarray]:
    """The population's growth rate over time, unchanged and changed."""
    step = np.diff(grid)
    totals = np.concatenate([g.counts @ run.mass.T for g, run in zip(setting.groups, before, strict=True)])
    unchanged = (np.diff(np.log(totals), axis=1) / step).mean(axis=0)
    differences = np.diff(effects.mass, axis=1) / step
    tested = perturbation.tested(differences, setting.share)
    times = {"time": (grid[:-1] + grid[1:]) / 2}
    table = _perturbations.frame(times, unchanged, unchanged + tested.estimate, tested)
    return {"growth": table, "growth_replicates": differences.astype(np.float32)}
