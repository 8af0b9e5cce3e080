from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.reading.projection import carry
from vgfm_sc.tl._model import models_and_cells


def annotate(
    adata: AnnData, keys: str | Sequence[str], *, layer: str | None = None, key: str = "vgfm", seed: int = 0
) -> None:
    """Carry labels, measurements and genes from the cells to the simulated trajectories.

    A simulated cell gets the weighted mean of the 30 observed cells nearest to it in the representation, over all time
    points and conditions; of labels, the one that weighs most. Missing values are ignored.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate`.
    keys
        Columns of ``obs`` and names of genes. Earlier ones are kept.
    layer
        Layer that genes are read from; `None` is ``X``.
    key
        The fit's ``key_added``.
    seed
        Of the draw of the cells that are searched for neighbours, in data of more than 20,000 cells, or 10,000 in more
        than five dimensions.

    Returns
    -------
    `None`. Sets the following fields:

    ``adata.uns["vgfm"]["trajectories"]["labels"]`` : :class:`dict`
        For each column of labels, ``codes``, int32, shape ``(n_times, n)``, into its ``categories``.
    ``adata.uns["vgfm"]["trajectories"]["values"]`` : :class:`dict`
        ``names`` of genes and columns of numbers, and ``values``, float32, shape ``(n_times, n, n_names)``.

    Raises
    ------
    KeyError
        No fit or no trajectories under ``key``, or a name that is neither in ``obs`` nor a gene.
    ValueError
        A column or gene without any value, or a name with a ``/``, under which h5ad and zarr cannot store labels.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching(n_genes=50)
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.simulate(adata)
    >>> vgfm_sc.tl.annotate(adata, ["cell_type", "gene7"])
    """
    result, snapshots, models = models_and_cells(adata, key, "cpu")
    _checks.seed(seed)
    scaling = next(iter(models.values())).scaling  # conditions have one
    trajectories = dict(_anndata.read_trajectories(adata, key))
    names = _anndata.names(keys, "keys")
    columns = {name: _anndata.read_column(adata, name, layer) for name in names}
    for name, column in columns.items():
        if pd.isna(column).all():
            msg = f"{name!r} is missing in every cell."
            raise ValueError(msg)
        if isinstance(column, pd.Categorical):
            _anndata.check_key(name, "a column of labels")
    positions = np.asarray(trajectories["positions"], dtype=float)
    points, shape = positions.reshape(-1, positions.shape[2]), positions.shape[:2]

    labels = dict(trajectories.get("labels", {}))
    earlier = trajectories.get("values", {"names": [], "values": np.empty((*shape, 0))})
    values = {str(name): np.asarray(earlier["values"])[..., k] for k, name in enumerate(earlier["names"])}
    for name, column in columns.items():
        known = ~pd.isna(column)
        if isinstance(column, pd.Categorical):
            shares = np.eye(len(column.categories), dtype=np.float32)[column.codes[known]]
            codes = carry(snapshots.x[known], shares, points, scaling, seed).argmax(axis=1)
            categories = np.asarray(column.categories.astype(str), dtype=str)
            labels[name] = {"codes": codes.astype(np.int32).reshape(shape), "categories": categories}
        else:
            values[name] = carry(snapshots.x[known], column[known, None], points, scaling, seed).reshape(shape)
    if labels:
        trajectories["labels"] = labels
    if values:
        stacked = np.stack(list(values.values()), axis=2).astype(np.float32)
        trajectories["values"] = {"names": np.asarray(list(values), dtype=str), "values": stacked}
    _anndata.write_derived(adata, key, {}, trajectories=trajectories)
