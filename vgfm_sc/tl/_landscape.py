from __future__ import annotations

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata
from vgfm_sc.tl import _cells, _model


def landscape(
    adata: AnnData,
    *,
    time: float | str | None = None,
    condition: str | None = None,
    key: str = "vgfm",
    device: str = "auto",
) -> None:
    """Minus the log density of the population where each cell is: low where cells gather, high where they are few.

    It is the log density whose gradient the fit has learnt as the score. Where cells drift down a potential with noise
    and have settled, and neither divide nor die, it is that potential up to a factor, ``2 / noise^2``. Elsewhere it
    says where cells are at that time, and not where they are drawn to: births raise the density on their side.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    time
        Of the population. `None`: of each cell the time at which it was sampled. A number, or a label of
        ``time_map``, within the range of the fit: one time for all cells, so that all can be compared.
    condition
        After a fit with ``condition_key``, the condition whose population is meant, for all cells; `None` is that of
        each cell.
    key
        The fit's ``key_added``.
    device
        Where to evaluate the networks, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    `None`. Sets the following fields:

    ``adata.obs["vgfm_landscape"]`` : :class:`pandas.Series` (float32)
        Minus the log density, which is known up to a constant at each time: the lowest of the cells at a time is 0.
        Differences between cells at one time mean something, between cells at two times or in two populations they do
        not. In a subset of the cells all values may be lower by one number.
    ``adata.uns["vgfm"]["landscape"]`` : :class:`dict`
        ``time``, as a number; NaN where it is that of each cell.

    Raises
    ------
    KeyError
        No fit under ``key``.
    TypeError
        ``time`` is neither a number nor a label.
    ValueError
        The fit has no score; ``time``, or without it some cells, lie outside the range of the fit; or the field is
        taken by something else.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.bistable(n_cells=250, n_dims=2)
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None)
    >>> vgfm_sc.tl.landscape(adata, time=0.5)
    >>> vgfm_sc.pl.landscape(adata)
    """
    _, snapshots, models = _model.models_and_cells(adata, key, device)
    slot = ("obs", f"{key}_landscape")
    _anndata.check_derived(adata, key, [slot])
    own, height = np.nan, np.empty(adata.n_obs, dtype=np.float32)
    for asked in _model.own(snapshots, models, np.arange(adata.n_obs), condition):
        course, times = snapshots.under(asked.condition), snapshots.time[asked.rows]
        if time is None:
            _cells.check_covered(course, times)
        else:
            own = _cells.covered(time, "time", course)
            times = np.full(len(times), own)
        here = -asked.model.log_density(times, snapshots.x[asked.rows])
        _, group = np.unique(times, return_inverse=True)
        lowest = np.full(group.max() + 1, np.inf)
        np.minimum.at(lowest, group, here)
        height[asked.rows] = here - lowest[group]
    _anndata.write_derived(adata, key, {slot: height}, landscape={"time": float(own)})
