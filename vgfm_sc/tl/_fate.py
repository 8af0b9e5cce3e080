from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks, get
from vgfm_sc.core.reading.fates import Runs, fates, origins
from vgfm_sc.tl import _cells, _clusters, _errors, _model

if TYPE_CHECKING:
    from vgfm_sc.core.dynamics.model import Model

Direction = Literal["forward", "backward"]


def fate(
    adata: AnnData,
    cluster_key: str,
    *,
    direction: Direction = "forward",
    noise: float = 0.0,
    n_runs: int = 30,
    descendants: bool = True,
    condition: str | None = None,
    key: str = "vgfm",
    seed: int = 0,
    tol: float = 1e-4,
    device: str = "auto",
) -> None:
    """Which clusters of the last time point the descendants of each cell are in, or which of the first it is from.

    Forward, each cell is followed along the fitted flow from its own time to the last time point. Its fate is read from
    the 30 observed cells nearest to the place it reaches, weighted by proximity. The position of one cell is noisy,
    so its probabilities are averaged over the cell and the nine nearest cells of its snapshot. The weights fall with
    distance and are proportional to the mass that each of these cells reaches: descendants are counted, as in the fates
    of wot (:cite:p:`Schiebinger19`). Where one branch multiplies, most descendants may be in it even if most cells go
    elsewhere.

    With ``noise`` every cell is followed ``n_runs`` times as `vgfm_sc.tl.simulate` does, so runs of one cell may end
    in different clusters. A probability is then the share of the runs, each weighted by the mass that it reaches. With
    ``descendants=False`` every run and every cell counts as one: the probability says where the cell itself goes, not
    how many descendants it has there.

    Backward, the cells of the first time point are followed to the time of each cell. Its origin is read from the 30 of
    them that arrive nearest, weighted by proximity and by the mass with which they arrive: of two cells whose
    descendants look alike, the one with more descendants is the likelier ancestor.

    After a fit with ``n_models`` above 1, the cells are followed with every model of the ensemble, which takes as many
    times as long. The standard deviation over the models is written beside the probabilities of the model itself.

    Probabilities in the middle are the least certain: see :doc:`When not to trust it </trust>`.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    cluster_key
        Column of ``obs`` with the clusters: categories, strings or booleans. It is read at the last time point (the
        first, backward) alone. Missing values there are ignored; such cells get probabilities like any other cell.
    direction
        ``"forward"`` for fates, ``"backward"`` for origins.
    noise
        Standard deviation of the random steps along each axis, in units of the representation per square root of the
        unit of time; forward only.
    n_runs
        With noise: runs of each cell.
    descendants
        Whether a run, or a cell of the surroundings, counts as the mass that it reaches; forward only.
    condition
        After a fit with ``condition_key``, the condition that all cells are followed under, whatever their own: what
        would become of cells of control under treatment, say. `None` follows each under its own. In both cases what a
        cell has become, or stems from, is read off cells of that condition.
    key
        The fit's ``key_added``.
    seed
        Of the noise, and of the cells that are searched for neighbours, in snapshots of more than 20,000 cells, or
        10,000 in more than five dimensions.
    tol
        Error allowed in one step of the integrator, as a share of the data's spread.
    device
        Where to follow the cells, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    `None`. Sets the following fields:

    ``adata.obsm["vgfm_fate"]`` : :class:`pandas.DataFrame` (float32, shape ``(n_obs, n_clusters)``)
        Probability that a descendant of the cell at the last time point, drawn at random, is of each cluster; rows sum
        to 1. Columns are the clusters that the last time point has, in the order of the categories, named as these but
        for ``/``, which becomes ``_``. Cells of the last time point, with ``condition`` those of this one, have
        probability 1 of their own.
    ``adata.obsm["vgfm_origin"]`` : :class:`pandas.DataFrame` (float32, shape ``(n_obs, n_clusters)``)
        With ``direction="backward"``: probability that the cell's ancestor at the first time point is of each cluster.
    ``adata.obsm["vgfm_fate_sd"]``, ``adata.obsm["vgfm_origin_sd"]`` : :class:`pandas.DataFrame` (float32)
        Of an ensemble: standard deviation of each probability over the models. It says what another sample of cells
        might change, and nothing of what all models have in common.
    ``adata.obsm["vgfm_fate_error"]`` : :class:`pandas.DataFrame` (float32)
        Of an ensemble, forward: error bar of each probability, as a standard deviation. It is how far the further
        models are from the model itself, and the variation of the probability over the ten nearest cells of any time.
    ``adata.uns["vgfm"]["fate"]``, ``adata.uns["vgfm"]["origin"]`` : :class:`dict`
        ``cluster_key``, and ``clusters``, the categories that the columns stand for; ``condition``, if one was named.

    Raises
    ------
    KeyError
        No fit under ``key``, or no column ``cluster_key``.
    TypeError
        The column holds numbers.
    ValueError
        The last (first) time point has no cells left, or none with a cluster; cells are from times that the fit does
        not cover; a cluster has a name that cannot be stored; the field is taken by something else; the fit has no
        score and ``noise`` needs it; or noise is asked for backward.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.fate(adata, "cell_type")

    Mean probabilities at each time:

    >>> adata.obsm["vgfm_fate"].groupby(adata.obs["time"].to_numpy()).mean()
    """
    if direction not in get_args(Direction):
        msg = f"direction must be one of {list(get_args(Direction))}, got {direction!r}."
        raise ValueError(msg)
    _checks.real("tol", tol)
    _checks.seed(seed)
    _checks.whole("n_runs", n_runs)
    if direction == "backward" and (noise or not descendants):
        msg = (
            "direction='backward' does not accept noise or descendants=False. Leave them out, or use "
            "direction='forward'."
        )
        raise ValueError(msg)
    _, snapshots, models = _model.models_and_cells(adata, key, device)
    _model.check_noise(noise, next(iter(models.values())))
    end, name = (-1, "fate") if direction == "forward" else (0, "origin")
    members = range(len(_anndata.read_members(adata, key)))
    n_tables = 1 if len(members) == 1 else 3 if direction == "forward" else 2
    slots = [("obsm", f"{key}_{name}{what}") for what in ("", "_sd", "_error")[:n_tables]]
    _anndata.check_derived(adata, key, slots)
    clusters = _clusters.of_end(adata, cluster_key, snapshots, end)
    parts = [
        _Part.of(asked, snapshots, clusters, end)
        for asked in _model.own(snapshots, models, np.arange(adata.n_obs), condition)
    ]

    runs = Runs(float(noise), n_runs) if noise else None
    every = []
    for k in members:
        shares = np.zeros((adata.n_obs, len(clusters.names)))
        for part in parts:
            asked = get.model(adata, key, member=k, condition=part.condition, device=device) if k else part.model
            cells = snapshots.x[part.used], snapshots.time[part.used], part.target, part.labels
            if direction == "forward":
                of_part = fates(asked, *cells, tol=tol, seed=seed, runs=runs, descendants=descendants)
            else:
                of_part = origins(asked, *cells, tol=tol, seed=seed)
            shares[part.rows, : of_part.shape[1]] = of_part[np.isin(part.used, part.rows)]
        every.append(shares)
    found = [every[0]]
    if n_tables > 1:
        found.append(np.std(every, axis=0, ddof=1))
    if n_tables > 2:
        error, of_models = np.zeros_like(every[0]), np.stack(every)
        for part in parts:
            rows, place = part.followed, part.model.scaling.to_unitless(snapshots.x[part.followed])
            error[rows] = _errors.expected(of_models[:, rows], place, seed)
        found.append(error)
    tables = {
        slot: pd.DataFrame(values.astype(np.float32), index=adata.obs_names, columns=clusters.columns)
        for slot, values in zip(slots, found, strict=True)
    }
    about = {"cluster_key": cluster_key, "clusters": np.asarray(clusters.names, dtype=str)}
    if condition is not None:
        about["condition"] = str(condition)
    _anndata.write_derived(adata, key, tables, **{name: about})


class _Part(NamedTuple):
    """Cells that are followed with one model.

    ``rows``: those that are asked; ``used``: these and, if they start from others, the others; increasing. ``labels``:
    numbers of the clusters of those used, -1 in all that nothing is read off. ``target``: the time of these.
    """

    condition: str | None
    model: Model
    rows: np.ndarray
    used: np.ndarray
    labels: np.ndarray
    target: float

    @property
    def followed(self) -> np.ndarray:
        """Rows of the cells that are asked and have no label of their own."""
        return self.used[(self.labels < 0) & np.isin(self.used, self.rows)]

    @classmethod
    def of(cls, asked: _model.Asked, snapshots: _anndata.Snapshots, clusters: _clusters.Clusters, end: int) -> _Part:
        course = snapshots.under(asked.condition)
        target, there = float(course.time_points[end]), course.rows[end]
        if not len(there) or target != snapshots.time_points[end] or (clusters.labels[there] < 0).all():
            msg = (
                f"Condition {asked.condition!r} has no cells with a cluster at {snapshots.time_points[end]:g}, so "
                "fates and origins cannot be read there. Leave its cells out, or follow all cells under another "
                "condition with the argument condition."
            )
            raise ValueError(msg)
        _cells.check_covered(course, snapshots.time[asked.rows])
        used = np.union1d(asked.rows, there)
        labels = np.where(np.isin(used, there), clusters.labels[used], -1)
        return cls(asked.condition, asked.model, asked.rows, used, labels, target)
