from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

import vgfm_sc
from vgfm_sc import _anndata, _checks
from vgfm_sc.core.transport import prior
from vgfm_sc.tl import _cell_cycle
from vgfm_sc.tl._gene_scores import GeneSet

logger = logging.getLogger(__name__)

MOST_OFF = 1.5
"""Factor by which an expected total may miss one that is known, whatever the prior."""


def growth_prior(
    adata: AnnData,
    time_key: str | None = None,
    *,
    proliferation: Sequence[str] | str | None = None,
    apoptosis: Sequence[str] | str | None = None,
    layer: str | None = None,
    mass: str | Mapping[Any, float] | None = None,
    time_map: Mapping[Any, float] | None = None,
    day: float = 1.0,
    key_added: str = "growth_prior",
    seed: int = 0,
) -> None:
    """Score genes of proliferation and apoptosis, and turn the scores into the growth expected of each cell.

    The column that this writes is what ``growth_prior`` of `vgfm_sc.tl.fit` takes. Gene sets are scored by
    :func:`scanpy.tl.score_genes`. As in wot and moscot (:cite:p:`Schiebinger19,Klein25`), a logistic function turns
    the score of proliferation into a rate of birth, and that of apoptosis into a rate of death, each between 0.3 and
    1.7 per day. Growth is birth minus death.

    How fast cells with these scores divide differs from one system to the next. Where totals are known, ``mass`` takes
    them, and one factor for all rates is learnt, so that the totals that the prior expects come as close to them as
    they can. Without totals the rates are those of wot.

    Parameters
    ----------
    adata
        Annotated data with normalised, log-transformed expression.
    time_key
        Column of ``obs`` with the sampling times, as in `vgfm_sc.tl.fit`; for ``mass`` alone.
    proliferation
        Gene symbols, or a column of ``obs`` that already holds a score. `None` takes the 97 genes of the S and G2M
        phases of :cite:t:`Tirosh16`. A symbol is also found in the spelling of the other species: ``MCM5`` finds
        ``Mcm5``.
    apoptosis
        The same for cell death. `None`: no deaths are known, and a cell without signs of proliferation keeps its size.
    layer
        Layer of normalised, log-transformed expression; `None` is ``X``. ``raw`` is never used.
    mass
        Population sizes, as in `vgfm_sc.tl.fit`: ``{time: total}``, a column of ``obs``, ``"equal"`` or ``"counts"``.
        `None`: they are not known.
    time_map
        Values of ``obs[time_key]`` to numbers, for labels such as ``"E8.5"``.
    day
        Length of a day in the unit of the times: 24 where they are in hours. With ``mass`` it makes no difference.
    key_added
        Name of the column.
    seed
        Of the genes that a set is compared with.

    Returns
    -------
    `None`. Sets the following fields:

    ``adata.obs["growth_prior"]`` : :class:`pandas.Series` (float32)
        Growth d log m / dt expected of the cell, per unit of time.
    ``adata.obs["growth_prior_proliferation"]`` : :class:`pandas.Series` (float32)
        Score of the proliferation genes, unless ``proliferation`` is a column.
    ``adata.obs["growth_prior_apoptosis"]`` : :class:`pandas.Series` (float32)
        Score of the apoptosis genes, if any were given.
    ``adata.uns["growth_prior"]`` : :class:`dict`
        ``scale``: the factor that was learnt, 1 without ``mass``; ``day``, ``seed``, package version; ``genes``: those
        scored, by set; ``columns``: of ``obs`` that were written. With ``mass`` also ``totals``, a
        :class:`pandas.DataFrame` with a row for each interval: ``time``, ``next_time``, and the ratio of its totals as
        ``known`` and as ``expected`` by the prior.

    Raises
    ------
    KeyError
        None of the genes of a set is in ``adata``, or ``time_key``, ``layer`` or a column is missing.
    TypeError, ValueError
        Times or totals cannot be used, ``mass`` comes without ``time_key`` or the other way round, ``key_added`` is
        taken, a set has no genes that vary or nothing to be compared with, or expression is not finite. ``adata`` is
        not changed, whatever the error.

    Warns
    -----
    UserWarning
        Expression that looks like counts, or totals that contradict the prior: no factor above 0 meets them better
        than equal growth of all cells.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching(n_genes=200)
    >>> genes = adata.var_names[adata.var["growth_gene"]]
    >>> vgfm_sc.tl.growth_prior(adata, "time", proliferation=genes, mass="counts")
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state", growth_prior="growth_prior")

    On data with gene symbols, times in hours and no known totals, the genes of the cell cycle say who divides::

        vgfm_sc.tl.growth_prior(adata, day=24)
    """
    _anndata.check_key(key_added)
    _checks.real("day", day)
    _checks.seed(seed)
    sampling = _sampling(adata, time_key, mass, time_map)
    sets = [_proliferation(adata, proliferation, layer)]
    if apoptosis is not None:
        sets.append(GeneSet.of(adata, "apoptosis", apoptosis, {}, layer))
    names = [key_added, *(f"{key_added}_{found.name}" for found in sets if found.column is None)]
    stale = _anndata.check_prior(adata, key_added, names)

    scores = []
    for found in sets:  # not a comprehension: that would count as a call where warnings point to
        scores.append(found.scored(adata, layer, seed))
    rates = prior.net_rates(scores[0].values, scores[1].values if apoptosis is not None else None) / day
    about: dict[str, Any] = {
        "package": _anndata.MARK,
        "version": vgfm_sc.__version__,
        "scale": 1.0,
        "day": float(day),
        "seed": int(seed),
        "columns": np.asarray(names, dtype=str),
        "genes": {of.name: np.asarray(of.genes, dtype=str) for of in sets if of.genes},
    }
    if sampling is not None:
        about["scale"], about["totals"] = _learnt(rates, sampling)
        rates = about["scale"] * rates

    values = [rates, *(of.values for of, given in zip(scores, sets, strict=True) if given.column is None)]
    entries: dict[tuple[str, str], Any] = {
        ("obs", name): value.astype(np.float32) for name, value in zip(names, values, strict=True)
    }
    _anndata.write(adata, {**entries, ("uns", key_added): about}, remove=stale)
    logger.info(
        "expect growth from %.3g to %.3g per unit of time, by %s; added %s",
        rates.min(), rates.max(), " and ".join(f"{len(of.genes) or of.column!r} of {of.name}" for of in sets),
        ", ".join(f"obs[{name!r}]" for name in names),
    )  # fmt: skip


def _proliferation(adata: AnnData, given: Sequence[str] | str | None, layer: str | None) -> GeneSet:
    earlier = _cell_cycle.EARLIER if given is None else {}
    given = [*_cell_cycle.S, *_cell_cycle.G2M] if given is None else given
    return GeneSet.of(adata, "proliferation", given, earlier, layer)


def _sampling(
    adata: AnnData, time_key: str | None, mass: str | Mapping[Any, float] | None, time_map: Mapping[Any, float] | None
) -> _anndata.Sampling | None:
    """Times and totals, if they are known."""
    if (time_key is None) != (mass is None):
        msg = (
            "mass needs time_key, the column of obs with the times of its totals."
            if time_key is None
            else f"time_key={time_key!r} needs mass, the totals that set the scale of the rates. Pass both, or set the "
            "unit of time of the rates with day."
        )
        raise ValueError(msg)
    return None if time_key is None or mass is None else _anndata.read_sampling(adata, time_key, time_map, mass)


def _learnt(rates: np.ndarray, sampling: _anndata.Sampling) -> tuple[float, pd.DataFrame]:
    """The factor that meets the totals, and how well; warns where the prior contradicts them."""
    points, dt = sampling.time_points, np.diff(sampling.time_points)
    known = np.diff(np.log(sampling.totals))
    scale, expected = prior.learnt_scale([rates[rows] for rows in sampling.rows[:-1]], dt, known)
    columns = {"time": points[:-1], "next_time": points[1:], "known": np.exp(known), "expected": np.exp(expected)}
    table = pd.DataFrame(columns)
    alike = prior.alike_log_ratios(known, dt)
    off = np.abs(expected - known)
    if scale == 0:
        told = "No factor above 0 brings the prior closer, so it expects the same growth of all cells, 0."
    elif off @ off > (alike - known) @ (alike - known) and off.max() > np.log(MOST_OFF):
        told = f"With the best factor, {scale:.3g}, they are met worse than if all cells grew alike."
    else:
        return scale, table
    intervals = "; ".join(
        f"from {row.time:g} to {row.next_time:g} {row.known:.3g} ({row.expected:.3g})" for row in table.itertuples()
    )
    msg = (
        "The prior contradicts the totals. They change by these factors (expected by the prior in brackets): "
        f"{intervals}. {told} Check the totals and the genes; if populations shrink, pass genes of apoptosis."
    )
    warnings.warn(msg, UserWarning, stacklevel=3)
    return scale, table
