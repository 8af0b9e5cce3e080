"""What the tools for genes have in common: which cells they ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vgfm_sc import _anndata


def chosen(
    snapshots: _anndata.Snapshots, cells: Sequence[int] | Sequence[bool] | np.ndarray | None, least: int
) -> np.ndarray:
    """Positions, increasing, of ``cells``, given as a boolean mask or positions; `None` is all of known time."""
    known = np.isfinite(snapshots.time)
    n_obs = len(known)
    index = known if cells is None else np.asarray(cells)
    if index.dtype == bool and index.shape == (n_obs,):
        index = np.flatnonzero(index)
    if index.dtype.kind not in "iu" or index.ndim != 1 or (len(index) and not 0 <= index.min() <= index.max() < n_obs):
        msg = f"cells must be a boolean mask of {n_obs} cells or positions of cells."
        raise ValueError(msg)
    index = np.unique(index)
    if len(index) < least:
        msg = f"cells names {len(index)} of {n_obs} cells; at least {least} are needed."
        raise ValueError(msg)
    if not known[index].all():
        msg = (
            f"{int((~known[index]).sum())} of the cells are from times that the fit does not know. Leave them out of "
            "cells."
        )
        raise ValueError(msg)
    return index
