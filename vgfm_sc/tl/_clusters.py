"""The clusters at an end of the time course, which cells come to or from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata

RESERVED = {"", ".", "..", "_index"}
"""Names of columns that h5ad or zarr cannot store."""


class Clusters(NamedTuple):
    """``labels``: numbers of the clusters in cells of the time point that is flowed to, -1 in others, ``(n_obs,)``.

    ``names``: the clusters; ``columns``: these as they can be stored.
    """

    labels: np.ndarray
    names: list[str]
    columns: list[str]


def of_end(adata: AnnData, cluster_key: str, snapshots: _anndata.Snapshots, end: int) -> Clusters:
    """Clusters of the last (``end=-1``) or the first (``end=0``) time point, named so that they can be stored."""
    column, rows = _anndata.read_categories(adata, cluster_key), snapshots.rows[end]
    where = f"the {'last' if end else 'first'} time point, {snapshots.time_points[end]:g}"
    if not len(rows):
        msg = f"adata has no cells of {where}, where the clusters are read. Pass an object that has them."
        raise ValueError(msg)
    there = column[rows].remove_unused_categories()
    names = [str(category) for category in there.categories]
    if not names:
        msg = f"obs[{cluster_key!r}] is missing in all cells of {where}. Choose a column that is known there."
        raise ValueError(msg)
    columns = [name.replace("/", "_") for name in names]
    reserved = RESERVED | {adata.obs_names.name}  # the index is stored beside the columns
    bad = sorted({c for c in columns if c in reserved or columns.count(c) > 1})
    if bad:
        msg = f"Clusters of obs[{cluster_key!r}] would be columns {bad}, reserved or not unique. Rename the clusters."
        raise ValueError(msg)
    labels = np.full(adata.n_obs, -1)
    labels[rows] = there.codes
    return Clusters(labels, names, columns)
