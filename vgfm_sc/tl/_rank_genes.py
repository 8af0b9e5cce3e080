from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, get
from vgfm_sc.core.dynamics import derivatives
from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.reading import ranking
from vgfm_sc.tl import _genes, _model

By = Literal["growth", "velocity", "fate"]

LEAST_CELLS = 3
"""At one time; fewer leave a correlation no degree of freedom."""


def rank_genes(
    adata: AnnData,
    by: By = "growth",
    *,
    within_time: bool = True,
    layer: str | None = None,
    cells: Sequence[int] | Sequence[bool] | np.ndarray | None = None,
    key: str = "vgfm",
    device: str = "auto",
) -> None:
    """Rank genes by how they go with growth or fate, or by how fast they change.

    By growth and by fate, genes are ranked by Pearson's correlation of their expression with the growth rate, or with
    the probability of each fate, over the cells of each time point. Any representation will do. By velocity they are
    ranked by their mean velocity over cells in units of their standard deviation: those at the head rise fastest,
    those at the end fall fastest. That takes a fit that leads back to genes, as `vgfm_sc.tl.gene_velocity` does.

    Differences between time points and between conditions are left out, unless ``within_time=False``: there are few of
    them, so thousands of genes change along with whatever else changes, and the level of growth at a time is no better
    than the counts of cells.

    Growth, fate and velocity are themselves functions of expression, learned from these cells, and many cells are not
    many replicates: p-values are small for most genes and say nothing about another experiment. They order genes, and
    sift out those that follow nothing. A gene of a cell type that grows goes with growth whether or not it has to do
    with it; ``cells`` restricts the question, say to one type.

    A fit with ``n_models`` above 1 tells what would change with another sample of cells and another seed: scores and
    sensitivities by growth are then computed for each model, and genes are marked as stable or not.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`; for ``by="fate"`` after `vgfm_sc.tl.fate`.
    by
        ``"growth"``, ``"velocity"`` or ``"fate"``.
    within_time
        Correlate within time points, and within conditions where the fit has them; `False` correlates over all cells at
        once.
    layer
        Expression, by growth and fate: a layer of normalised, log-transformed values; `None` is ``X``. Velocity is in
        units of the matrix that the PCA or the fit was computed on.
    cells
        Boolean mask or positions of the cells to ask; `None` asks all.
    key
        The fit's ``key_added``.
    device
        Where to evaluate the networks, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    `None`. Sets the following field, here for ``by="growth"``; read it with `vgfm_sc.get.genes`:

    ``adata.uns["vgfm"]["genes"]["growth"]`` : :class:`pandas.DataFrame`
        One row a gene, the highest score first; by fate so for each fate in turn.

        ``names``
            Of the genes; by velocity those that have one.
        ``group``
            By fate: the fate.
        ``scores``
            Correlation, 0 for genes that do not vary; by velocity standard deviations per unit of time.
        ``t``
            Of the correlation; by velocity the mean over its standard error.
        ``pvals``, ``pvals_adj``
            Two-sided, from the t distribution; adjusted by Benjamini and Hochberg (of each fate for itself).
        ``scores_sd``
            By growth, with ``n_models`` above 1: standard deviation of the score over the models.
        ``sensitivity``, ``sensitivity_abs``
            By growth: how much the growth rate rises when the gene alone rises by one standard deviation, by the
            derivative of the growth network; mean over cells, and mean of its size; with ``n_models`` above 1 also
            over the models. Cells fill few of the directions that expression has, and a derivative across them is
            not held by data: look at ``stable``. NaN for genes that were not part of the PCA. Only for fits that lead
            back to genes; elsewhere these columns and those below are left out.
        ``sensitivity_low``, ``sensitivity_high``
            By growth, with ``n_models`` above 1: interval in which the sensitivity by a further model is to be
            expected, the mean and two standard deviations to either side.
        ``stable``
            By growth, with ``n_models`` above 1: whether that interval leaves out 0 (bool). Fit 5 models or more to
            tell.

    Raises
    ------
    KeyError
        No fit under ``key``, no fate, no such layer, or for ``by="velocity"`` a representation that does not lead back
        to genes.
    ValueError
        ``by`` or ``cells`` cannot be used, growth or fate is the same in all cells, expression is not finite, or for
        ``by="velocity"`` the matrix has changed since the PCA.

    Warns
    -----
    UserWarning
        The matrix has changed since the PCA: sensitivities are left out.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching(n_genes=200)
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.rank_genes(adata)
    >>> vgfm_sc.get.genes(adata, n_genes=10)
    """
    if by not in get_args(By):
        msg = f"by must be one of {list(get_args(By))}, got {by!r}."
        raise ValueError(msg)
    result, snapshots, models = _model.models_and_cells(adata, key, device)
    rows = _genes.chosen(snapshots, cells, LEAST_CELLS)
    if by == "velocity":
        table = _by_velocity(adata, layer, rows, key)
    else:
        time = _groups(snapshots) if within_time else np.zeros(adata.n_obs)
        members = [_model.own(snapshots, models, rows)]
        if by == "growth":
            n_models = len(_anndata.read_members(adata, key))
            members += [
                [
                    each._replace(model=get.model(adata, key, member=k, condition=each.condition, device=device))
                    for each in members[0]
                ]
                for k in range(1, n_models)
            ]
        others = [_growth(snapshots, member, rows) for member in members[1:]]
        table = _by_correlation(adata, by, time, layer, rows, others, key)
        if by == "growth":
            table = table.drop(columns="group").assign(**_sensitivities(adata, snapshots, members, rows, key))
    order = ["group", "scores"] if by == "fate" else ["scores"]
    table = table.sort_values(order, ascending=[name == "group" for name in order], kind="stable", ignore_index=True)
    _anndata.write_derived(adata, key, {}, genes={**result.get("genes", {}), by: table})


def _by_correlation(
    adata: AnnData, by: str, time: np.ndarray, layer: str | None, rows: np.ndarray, others: list[np.ndarray], key: str
) -> pd.DataFrame:
    """For each fate, or for growth, the genes in the order of ``var``.

    ``others``: growth of ``rows`` by the further models of an ensemble.
    """
    _anndata.check_layer(adata, layer)
    if by == "growth":
        names, values = [by], _anndata.read_growth(adata, key)[rows, None]
    else:
        fate = _anndata.read_fate(adata, key)
        names, values = [str(name) for name in fate.columns], fate.to_numpy(dtype=float)[rows]
    values = np.column_stack([values, *others])
    known = np.isfinite(values).all(axis=1)
    rows, values = rows[known], values[known]
    times, groups = np.unique(time[rows], return_inverse=True)
    columns = ranking.standardised(values, groups) if len(rows) else values
    if len(rows) - len(times) < LEAST_CELLS - 1 or not columns[:, : len(names)].any():
        msg = (
            f"Nothing to rank genes by: {by} under {key!r} does not vary over the {len(rows)} cells that have it, "
            f"of {len(times)} time points. Choose other cells."
        )
        raise ValueError(msg)
    moments = _anndata.read_moments(adata, layer, rows, columns, groups)
    hollow = int((~np.isfinite(moments.mean)).sum())
    if hollow:
        msg = f"{'adata.X' if layer is None else f'layers[{layer!r}]'} holds NaN or infinity in {hollow} genes."
        raise ValueError(msg)
    found = ranking.correlations(moments.cross, moments.sd, len(rows), len(times))
    table = pd.DataFrame(
        {
            "names": np.tile(adata.var_names.to_numpy(dtype=object), len(names)),
            "group": pd.Categorical(np.repeat(names, adata.n_vars), categories=names),
            **{name: values[:, : len(names)].T.ravel() for name, values in found._asdict().items()},
        }
    )
    return table.assign(scores_sd=found.scores.std(axis=1, ddof=1)) if others else table


def _by_velocity(adata: AnnData, layer: str | None, rows: np.ndarray, key: str) -> pd.DataFrame:
    if layer is not None:
        msg = (
            f"by='velocity' does not accept layer, got {layer!r}: velocity is in units of the matrix that the PCA or "
            "the fit was computed on."
        )
        raise ValueError(msg)
    loadings = _anndata.read_loadings(adata, key)
    found = ranking.mean_velocities(_anndata.read_velocity(adata, key)[rows], loadings.matrix, loadings.sd)
    names = adata.var_names.to_numpy(dtype=object)[loadings.genes]
    return pd.DataFrame({"names": names, **found._asdict()})


def _sensitivities(
    adata: AnnData, snapshots: _anndata.Snapshots, members: list[list[_model.Asked]], rows: np.ndarray, key: str
) -> dict[str, np.ndarray]:
    """Change of growth per standard deviation of each gene: mean over cells, mean of its size, and over models."""
    try:
        loadings = _anndata.read_loadings(adata, key)
    except KeyError:
        return {}
    except ValueError as error:
        warnings.warn(f"{error} Sensitivities are left out.", UserWarning, stacklevel=3)
        return {}
    p = len(loadings.genes)
    signed, size = np.zeros((len(members), p)), np.zeros(p)
    at_once = min(BLOCK_CELLS, max(1, ranking.BLOCK_NUMBERS // p))
    each = [(k, own, model) for k, member in enumerate(members) for _, own, model in member]
    for k, own, model in each:
        for gradient in derivatives.growth_gradients(model, snapshots.time[own], snapshots.x[own], at_once):
            of_genes = loadings.to_genes(gradient) * loadings.sd
            signed[k] += of_genes.sum(axis=0) / len(rows)
            size += np.abs(of_genes).sum(axis=0) / len(rows) / len(members)
    if len(members) == 1:
        columns = {"sensitivity": signed[0], "sensitivity_abs": size}
    else:
        found = ranking.interval(signed)
        columns = {"sensitivity": found.mean, "sensitivity_abs": size}
        columns |= {"sensitivity_low": found.low, "sensitivity_high": found.high, "stable": found.stable}
    return {name: _of_all(adata.n_vars, loadings.genes, values) for name, values in columns.items()}


def _growth(snapshots: _anndata.Snapshots, member: list[_model.Asked], rows: np.ndarray) -> np.ndarray:
    """Growth of the cells at ``rows`` by a model of the ensemble, shape ``(len(rows),)``."""
    growth = np.empty(len(rows))
    for _, own, model in member:
        growth[np.isin(rows, own)] = model(snapshots.time[own], snapshots.x[own])[1]
    return growth


def _groups(snapshots: _anndata.Snapshots) -> np.ndarray:
    """A number for each time of each condition, whose cells are compared with each other, shape ``(n_obs,)``."""
    if snapshots.conditions is None:
        return snapshots.time
    return np.unique(np.stack([snapshots.conditions.codes, snapshots.time]), axis=1, return_inverse=True)[1].ravel()


def _of_all(n_vars: int, genes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """In the order of ``var``; NaN, or `False`, for genes without a value."""
    of_all = np.full(n_vars, False if values.dtype == bool else np.nan)
    of_all[genes] = values
    return of_all
