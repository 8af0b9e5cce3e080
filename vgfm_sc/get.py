"""Read-outs of what `tl` wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

from vgfm_sc import _anndata, _checks

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model

__all__ = ["couplings", "genes", "model", "trajectories"]


def __dir__() -> list[str]:
    return __all__


def model(
    adata: AnnData, key: str = "vgfm", *, member: int = 0, condition: str | None = None, device: str = "auto"
) -> Model:
    """The fitted networks as a function ``model(t, x) -> (v, g)`` in your own units.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    key
        The fit's ``key_added``.
    member
        With ``n_models`` above 1, which of the models: 0 is the one fitted to all cells, whose results `vgfm_sc.tl.fit`
        writes; ``n_models - 1`` is the last of those fitted to cells drawn again.
    condition
        After a fit with ``condition_key``, the condition whose dynamics are asked for. It can be left out where all
        cells of ``adata`` are of one.
    device
        Where to evaluate the networks, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    Called with ``t``, a number or shape ``(n,)``, in the unit of the time key, and ``x``, shape ``(n, d)``, in the
    units of the representation, it answers the velocity, shape ``(n, d)``, and the growth rate d log m / dt, shape
    ``(n,)``, both per unit of the time key.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> velocity, growth = vgfm_sc.get.model(adata)(1.5, adata.obsm["X_genes"])
    """
    from vgfm_sc.core import device as devices
    from vgfm_sc.core.dynamics import stored
    from vgfm_sc.core.dynamics.model import Model
    from vgfm_sc.core.dynamics.scaling import Scaling

    result, members = _anndata.read_result(adata, key), _anndata.read_members(adata, key)
    _checks.whole("member", member, least=0)
    if member >= len(members):
        msg = (
            f"member={member}, but the fit under {key!r} holds {len(members)} model{'s' * (len(members) > 1)}, counted "
            "from 0. Run `vgfm_sc.tl.fit(adata, ..., n_models=5)` for more."
        )
        raise ValueError(msg)
    numbers = result["scaling"]
    name = _anndata.condition_meant(adata, key, condition)
    length, middle, unit = (float(numbers[name]) for name in ("length", "time_middle", "time_unit"))
    axes, ticks = (np.asarray(numbers[name], dtype=float) if name in numbers else None for name in ("axes", "ticks"))
    scaling = Scaling(np.asarray(numbers["centre"], dtype=float), length, middle, unit, axes, ticks)
    place = devices.choose(device)
    width, depth = (int(result["params"][name]) for name in ("width", "depth"))
    networks = stored.networks(members[member], scaling.n_axes, width, depth, len(result["time_points"]))
    if name is not None:
        networks = networks.under([str(each) for each in result["params"]["conditions"]].index(name))
    return Model(networks.to(place), scaling)


def couplings(
    adata: AnnData, key: str = "vgfm", *, condition: str | None = None
) -> dict[tuple[float, float], csr_matrix]:
    """The plan of each interval.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    key
        The fit's ``key_added``.
    condition
        After a fit with ``condition_key``, the condition whose plans are meant. It can be left out where all cells of
        ``adata`` are of one.

    Returns
    -------
    ``{(t0, t1): plan}``, ``plan`` of shape ``(cells of t0, cells of t1)`` in the order of ``adata``: the mass that a
    cell sends to another. Intervals of which a time point has been dropped from ``adata`` are left out. With
    ``condition`` the cells are those of its course, at the first time those of others if it starts from them.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> plan = vgfm_sc.get.couplings(adata)[0.0, 1.0]
    """
    _, sampling = _anndata.fitted_sampling(adata, key)
    sampling = sampling.under(_anndata.condition_meant(adata, key, condition))
    name = _anndata.Keys.of(key, _anndata.fitted_basis(adata, key)).coupling
    if name not in adata.obsp:
        msg = f"adata.obsp[{name!r}] is missing. Run `vgfm_sc.tl.fit` again."
        raise KeyError(msg)
    joined = csr_matrix(adata.obsp[name])
    points, rows = sampling.time_points, sampling.rows
    return {
        (float(points[k]), float(points[k + 1])): joined[rows[k]][:, rows[k + 1]]
        for k in range(len(points) - 1)
        if len(rows[k]) and len(rows[k + 1])
    }


def trajectories(adata: AnnData, key: str = "vgfm") -> pd.DataFrame:
    """Simulated trajectories as a long table.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate`.
    key
        The fit's ``key_added``.

    Returns
    -------
    One row for each trajectory and time: ``trajectory`` (its number), ``cell`` (name of the cell it starts from),
    ``time``, ``mass`` (per unit at its start) and one column for each coordinate, named as the representation or
    as its gene.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.tl.simulate(adata)
    >>> vgfm_sc.get.trajectories(adata)
    """
    stored = _anndata.read_trajectories(adata, key)
    positions = stored["positions"]
    n_times, n, d = positions.shape
    axes = _anndata.Representation.stored(_anndata.read_result(adata, key)["params"]).axes(d)
    table = pd.DataFrame(
        {
            "trajectory": np.repeat(np.arange(n), n_times),
            "cell": np.repeat(np.asarray(stored["cells"], dtype=object), n_times),
            "time": np.tile(stored["times"], n),
            "mass": np.asarray(stored["mass"]).T.ravel(),
        }
    )
    coordinates = positions.transpose(1, 0, 2).reshape(-1, d)
    return table.join(pd.DataFrame(coordinates, columns=axes))


def genes(
    adata: AnnData, by: str = "growth", *, group: str | None = None, n_genes: int | None = None, key: str = "vgfm"
) -> pd.DataFrame:
    """Genes as `vgfm_sc.tl.rank_genes` ranked them.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.rank_genes`.
    by
        ``"growth"``, ``"velocity"`` or ``"fate"``.
    group
        Of a ranking by fate, the fate; `None` gives all, one after the other.
    n_genes
        How many from the head (of each group); `None` gives all.
    key
        The fit's ``key_added``.

    Returns
    -------
    A copy of the table, whose columns `vgfm_sc.tl.rank_genes` describes.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None)
    >>> vgfm_sc.tl.rank_genes(adata)
    >>> vgfm_sc.get.genes(adata, n_genes=10)
    """
    if n_genes is not None:
        _checks.whole("n_genes", n_genes, least=0)
    table = _anndata.read_ranking(adata, key, by)
    if group is not None:
        found = [] if "group" not in table else list(pd.unique(table["group"]))
        if group not in found:
            msg = f"The ranking by {by!r} has no group {group!r}. Groups: {found}."
            raise ValueError(msg)
        table = table[table["group"] == group].reset_index(drop=True)
    if n_genes is None:
        return table.copy()
    if "group" not in table:
        return table.head(n_genes).copy()
    return table.groupby("group", sort=False, observed=True).head(n_genes).reset_index(drop=True)
