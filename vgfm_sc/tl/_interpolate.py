from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.reading.projection import carry
from vgfm_sc.tl import _cells
from vgfm_sc.tl._model import model_and_cells


def interpolate(
    adata: AnnData,
    time: float | str,
    *,
    n_cells: int | None = None,
    cluster_key: str | Sequence[str] | None = None,
    condition: str | None = None,
    key: str = "vgfm",
    seed: int = 0,
    tol: float = 1e-4,
    device: str = "auto",
) -> AnnData:
    """Cells at a time between the samples, as an object of their own.

    The cells of the time point before are followed to ``time``. At a time that was sampled these too are simulated, so
    that they can be compared with the observed ones; at the first they are the observed ones.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`; it is not changed.
    time
        Within the range of the fit, in the unit of its time key; or a label of its ``time_map``.
    n_cells
        How many cells to follow, drawn at random; `None` follows all.
    cluster_key
        Columns of labels in ``obs`` to give to the new cells: of the 30 nearest cells observed at the time points
        around, in the representation, the label that weighs most. Where these leave a gap it is a guess.
    condition
        After a fit with ``condition_key``, the condition whose cells are meant. It can be left out where all cells of
        ``adata`` are of one.
    key
        The fit's ``key_added``.
    seed
        Of the draw of cells, and of those that are searched for neighbours in data of more than 20,000 cells, or 10,000
        in more than five dimensions.
    tol
        Error allowed in one step of the integrator, as a share of the data's spread.
    device
        Where to follow the cells, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    Annotated data with one row for each simulated cell. Where the representation is a PCA of genes in ``adata``, ``X``
    is the expression that its components stand for, float32, for the genes of the PCA; where the fit was to genes,
    ``X`` holds these; else it has no genes. With

    ``obs["<time key>"]``
        The time, as a number.
    ``obs["vgfm_mass"]``
        Mass of the cell, float32, so that the sum is the predicted number of cells, in the unit of the totals of the
        fit.
    ``obs["vgfm_growth"]``
        Growth rate at the new place and time, float32, per unit of time.
    ``obs["vgfm_parent"]``
        Name of the observed cell that it comes from.
    ``obs["<condition_key>"]``
        The condition, where the fit has conditions.
    ``obs["<cluster_key>"]``
        Labels, with the categories of ``adata``; their colours come along in ``uns``.
    ``obsm["<use_rep>"]``, ``obsm["vgfm_velocity_pca"]``
        Position, float32, and velocity at it, float32, per unit of time. The second name ends as that of the fit.
    ``uns["vgfm_interpolation"]``
        ``time``; ``start``, the time point that the cells come from; and in words ``expression``, how ``X`` came about
        or why it is empty.

    Raises
    ------
    KeyError
        No fit under ``key``, or no such column.
    ValueError
        ``time`` lies outside the range of the fit, or the cells of the time point before it have been dropped.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> cells = vgfm_sc.tl.interpolate(adata, 1.5, cluster_key="cell_type")
    >>> cells.obs.groupby("cell_type", observed=True)["vgfm_mass"].sum()
    """
    result, snapshots, model = model_and_cells(adata, key, device, condition)
    condition = _anndata.condition_meant(adata, key, condition)
    _checks.real("tol", tol)
    _checks.seed(seed)
    k, time = _before(snapshots, time)
    start = float(snapshots.time_points[k])
    cells = _cells.drawn(snapshots.rows[k], n_cells, np.random.default_rng(seed))
    around = np.concatenate(snapshots.rows[k : k + 2])
    time_key = str(result["params"]["time_key"])
    names = [] if cluster_key is None else _anndata.names(cluster_key, "cluster_key")
    columns = {name: _labels(adata, name, around) for name in names}
    own = [time_key, *(f"{key}_{what}" for what in ("mass", "growth", "parent"))]
    if condition is not None:
        own.append(str(result["params"]["condition_key"]))
    taken = sorted(set(names) & set(own))
    if taken:
        msg = f"The simulated cells have columns {taken} of their own. Leave them out of cluster_key."
        raise ValueError(msg)

    positions, masses = (course[-1] for course in model.simulate(snapshots.x[cells], [start, time], tol=tol))
    velocity, growth = model(time, positions)
    held = snapshots.totals[k] / len(cells)
    parents = adata.obs_names[cells].astype(str)
    found = [time, (held * masses).astype(np.float32), growth.astype(np.float32), parents, condition]
    obs = dict(zip(own, found, strict=False))
    for name, column in columns.items():
        known = around[column.codes[around] >= 0]
        shares = np.eye(len(column.categories), dtype=np.float32)[column.codes[known]]
        codes = carry(snapshots.x[known], shares, positions, model.scaling, seed).argmax(axis=1)
        obs[name] = pd.Categorical.from_codes(codes, dtype=column.dtype)
    representation = _anndata.Representation.stored(result["params"])
    x, var, words = _expression(adata, key, representation, positions)
    index = [f"simulated_{time:g}_{i}" for i in range(len(cells))]
    simulated = AnnData(x, obs=pd.DataFrame(obs, index=index), var=var)
    if representation.use_rep is not None:
        simulated.obsm[representation.use_rep] = positions.astype(np.float32)
    simulated.obsm[_anndata.Keys.of(key, representation.name).velocity] = velocity.astype(np.float32)
    simulated.uns[f"{key}_interpolation"] = {"time": time, "start": start, "expression": words}
    for colors in (f"{name}_colors" for name in names):
        if colors in adata.uns:
            simulated.uns[colors] = adata.uns[colors]
    return simulated


def _before(snapshots: _anndata.Snapshots, time: Any) -> tuple[int, float]:
    """Place of the last time point before ``time``, or of the first at that one, and the time as a number."""
    time, points = _cells.covered(time, "time", snapshots), snapshots.time_points
    k = max(0, int(np.searchsorted(points, time)) - 1)
    if not len(snapshots.rows[k]):
        msg = f"The cells of time {points[k]:g} are needed to simulate time {time:g}, and adata has none."
        raise ValueError(msg)
    return k, time


def _labels(adata: AnnData, name: str, around: np.ndarray) -> pd.Categorical:
    """``obs[name]`` with all its categories, so that colours keep their order; some cells ``around`` must have one."""
    column = _anndata.read_categories(adata, name)
    if isinstance(adata.obs[name].dtype, pd.CategoricalDtype):
        column = pd.Categorical(adata.obs[name])
    if (column.codes[around] < 0).all():
        msg = f"obs[{name!r}] is missing in all cells of the time points around."
        raise ValueError(msg)
    return column


def _expression(
    adata: AnnData, key: str, representation: _anndata.Representation, positions: np.ndarray
) -> tuple[np.ndarray, pd.DataFrame, str]:
    """Expression, shape ``(n, n_genes)``, the rows of ``var`` it is for, and where it comes from in words."""
    if representation.genes is not None:
        genes = adata.var_names.get_indexer(representation.genes)
        words = f"as simulated, in the units of {representation.where}"
        return positions.astype(np.float32), adata.var.iloc[genes], words
    try:
        loadings = _anndata.read_loadings(adata, key)
    except (KeyError, ValueError) as error:
        return np.empty((len(positions), 0), dtype=np.float32), adata.var.iloc[:0], f"none: {error.args[0]}"
    expression = loadings.to_genes(positions).astype(np.float32)
    expression += loadings.mean.astype(np.float32)
    source = "X" if loadings.layer is None else f"layers[{loadings.layer!r}]"
    words = f"decoded from obsm[{representation.use_rep!r}] by its loadings, in the units of {source}"
    return expression, adata.var.iloc[loadings.genes], words
