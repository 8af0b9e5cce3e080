from __future__ import annotations

import warnings

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, _checks, get
from vgfm_sc.tl import _cells, _errors, _model


def growth_error(adata: AnnData, *, key: str = "vgfm", seed: int = 0, device: str = "auto") -> None:
    """How far growth may be from the truth at each cell, from an ensemble: an error bar, as a standard deviation.

    ``vgfm_growth_sd`` is the spread of the models, which is what another sample of cells would change. The error bar is
    that spread times a factor, and the variation of growth over the ten nearest cells, of any time.

    The factor says how much more, or less, growth is off than by the sample of cells. Growth is compared between
    successive times, at places that have cells at both: there all models expect growth to be the same, so what changes
    is error. The factor is the change in the model itself over the one that the further models lead to expect. Where
    growth does change with time itself, it is too large. With two time points or no shared places it is 1.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit` with ``n_models`` above 1; five or more are better.
    key
        The fit's ``key_added``.
    seed
        Of the 1,000 cells at each time that are compared, and of the cells that are searched for neighbours, if there
        are more than 20,000, or 10,000 in more than five dimensions.
    device
        Where to evaluate the networks, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    `None`. Sets the following fields:

    ``adata.obs["vgfm_growth_error"]`` : :class:`pandas.Series` (float32)
        Standard deviation of growth about its true value, per unit of ``time_key``.
    ``adata.uns["vgfm"]["growth_error"]`` : :class:`dict`
        ``factor``, and ``n_places``, the number of places compared.

    Warns
    -----
    UserWarning
        The factor is not known and taken to be 1.

    Raises
    ------
    KeyError
        No fit under ``key``, or one of a single model.
    ValueError
        Cells are from times or conditions that the fit does not cover, or the field is taken by something else.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state", n_models=5)
    >>> vgfm_sc.tl.growth_error(adata)
    >>> adata.obs.groupby("cell_type", observed=True)[["vgfm_growth", "vgfm_growth_error"]].mean()
    """
    _checks.seed(seed)
    _, snapshots, models = _model.models_and_cells(adata, key, device)
    n_models = len(_anndata.read_members(adata, key))
    if n_models == 1:
        msg = (
            f"The fit under {key!r} has one model, and error bars need several. Run `vgfm_sc.tl.fit(adata, ..., "
            "n_models=5)` first."
        )
        raise KeyError(msg)
    slot = ("obs", f"{key}_growth_error")
    _anndata.check_derived(adata, key, [slot])
    parts = _model.own(snapshots, models, np.arange(adata.n_obs))
    courses = [snapshots.under(part.condition) for part in parts]
    for part, course in zip(parts, courses, strict=True):
        _cells.check_covered(course, snapshots.time[part.rows])

    others = range(1, n_models)
    every = [
        [part.model, *(get.model(adata, key, member=k, condition=part.condition, device=device) for k in others)]
        for part in parts
    ]
    both = zip(every, courses, strict=True)
    changes = np.concatenate([_errors.across_times(members, course, seed) for members, course in both], axis=1)
    factor = _errors.factor(changes)
    if factor is None:
        msg = (
            "Growth is not compared between times, because there are two of them or no places with cells at two: "
            f"obs[{slot[1]!r}] shows what another sample of cells would change, and not what all models have in common."
        )
        warnings.warn(msg, UserWarning, stacklevel=2)
    error = np.empty(adata.n_obs, dtype=np.float32)
    for part, members in zip(parts, every, strict=True):
        x, time = snapshots.x[part.rows], snapshots.time[part.rows]
        growth = np.stack([model(time, x)[1] for model in members])[:, :, None]
        place = part.model.scaling.to_unitless(x)
        error[part.rows] = _errors.expected(growth, place, seed, 1.0 if factor is None else factor)[:, 0]
    about = {"factor": 1.0 if factor is None else factor, "n_places": changes.shape[1]}
    _anndata.write_derived(adata, key, {slot: error}, growth_error=about)
