from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core import device as devices
from vgfm_sc.methods import Method, manifold, otcfm, vgfm
from vgfm_sc.tl import _arguments, _compared, _decision, _entries, _left_out, _predictions
from vgfm_sc.tl._baselines import baselines

logger = logging.getLogger(__name__)

MOST_FITS = 8
"""Models that are fitted unless the times are named."""

DEFAULT = {
    "vgfm": vgfm(),
    "manifold": manifold(),
    "own growth": manifold(shared_growth=False, rho=0.5),
    "otcfm": otcfm(),
}
"""The candidates of `choose`; the first is the default of `fit`."""


class Choice(NamedTuple):
    """What `vgfm_sc.tl.choose` returns.

    Parameters
    ----------
    table
        One row for each candidate.
    method
        The candidate chosen, for the ``method`` of `vgfm_sc.tl.fit`.
    name
        Its name.
    reason
        Why it was chosen, in a sentence.
    """

    table: pd.DataFrame
    method: Method
    name: str
    reason: str


def choose(
    adata: AnnData,
    time_key: str,
    candidates: Mapping[str, str | Method] | Sequence[str | Method] | None = None,
    *,
    times: Sequence[float | str] | float | str | None = None,
    use_rep: str | None = "X_pca",
    layer: str | None = None,
    genes: Sequence[str] | str | None = None,
    time_map: Mapping[Any, float] | None = None,
    mass: str | Mapping[Any, float] = "counts",
    growth_prior: str | None = None,
    clone_key: str | None = None,
    sample_key: str | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool | None = None,
    key_added: str = "choice",
    match_steps: int = 800,
    max_cells: int = 2000,
    tol: float = 1e-4,
    **fit_arguments: Any,
) -> Choice:
    """Choose the method that best predicts time points left out, or keep the default.

    Each candidate is fitted, with few steps, to the time course without some of its time points, and predicts these.
    The first candidate is the default. Another one is chosen only if it is better by more than chance. At most eight
    models are fitted, unless you name the ``times``. A ``joblib.parallel_config`` around the call spreads them over
    processes or machines, which does not change them.

    Parameters
    ----------
    adata
        Annotated data with at least three time points.
    time_key, use_rep, layer, genes, time_map, mass, growth_prior, clone_key, sample_key, device, seed, progress
        As in `vgfm_sc.tl.holdout` with several methods.
    candidates
        At most eight methods: a list, each under its own ``name``, or a mapping of names to methods. The first is the
        default that the others must beat. `None` takes these:

        - ``"vgfm"``: `vgfm_sc.methods.vgfm` as it is.
        - ``"manifold"``: `vgfm_sc.methods.manifold`. Paths keep to the data, for courses that turn between time points.
        - ``"own growth"``: ``manifold(shared_growth=False, rho=0.5)``. Moreover, each interval has a growth of its own,
          for states that multiply at one time and not at another.
        - ``"otcfm"``: `vgfm_sc.methods.otcfm`. All cells grow alike.
    times
        Time points to leave out, as in `vgfm_sc.tl.holdout`. `None` takes as many as eight fits allow. One fit can
        leave out several time points, if at least two that stay lie between them.
    key_added
        The scores are kept in ``uns["<key_added>_holdout"]``.
    match_steps
        Steps of the matching stage. The fitting stage and the score are left out, unless ``fit_arguments`` hold
        ``fit_steps`` or ``score``.
    max_cells
        Distances take at most this many cells a side, drawn at random.
    tol
        Error allowed in one step of the integrator, as a share of the data's spread.
    **fit_arguments
        Further arguments of `vgfm_sc.tl.fit`, for all models; not ``copy``, ``method`` or ``n_models``.

    Returns
    -------
    A named tuple of the ``table``, the ``method`` for `vgfm_sc.tl.fit`, its ``name`` and the ``reason``. The table has
    one row for each candidate:

    ``candidate``
        Its name.
    ``score``
        Energy distance to the cells left out, over that of the nearest snapshot, so that all time points count alike:
        1 is no better than the nearest snapshot, 0 is perfect. Mean over the time points.
    ``gain``
        How far the score is below that of the first candidate, on the same cells.
    ``error``
        Standard error of the gain over samples of cells.
    ``better``
        Whether the gain is more than twice its standard error and more than 0.03, and at no time point the candidate is
        worse than the first by as much; smaller differences do not matter.
    ``chosen``
        Whether it is the method that is returned: of those that are better, that with the largest gain.

    Unless ``adata`` is a view, sets the following field:

    ``adata.uns["choice_holdout"]`` : :class:`dict`
        ``scores``, a table as of `vgfm_sc.tl.holdout`, which ``vgfm_sc.pl.holdout(adata, key="choice")`` draws;
        ``candidates``, the table above; ``chosen``, the name; ``reason``.

    Warns
    -----
    UserWarning
        The representation was centred on all cells, as in `vgfm_sc.tl.holdout`.

    Raises
    ------
    ValueError
        ``adata`` has fewer than three time points; ``times`` holds one that is not between others; two candidates have
        one name, or there are more than eight.
    KeyError, TypeError, ValueError, FloatingPointError
        As `vgfm_sc.tl.fit`.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> choice = vgfm_sc.tl.choose(adata, "time", use_rep="X_genes")
    >>> choice.table
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", method=choice.method)
    """
    _anndata.check_key(key_added)
    representation = _anndata.Representation.chosen(adata, use_rep, layer, genes)
    snapshots = _anndata.read_snapshots(adata, time_key, representation, time_map, mass, sample_key=sample_key)
    _anndata.check_holdout(adata, key_added)
    methods = DEFAULT if candidates is None else _compared.named(candidates, "candidates")
    if len(methods) > MOST_FITS:
        msg = (
            f"candidates holds {len(methods)} methods; at most {MOST_FITS} can be compared. Leave some out, or compare "
            "all with `vgfm_sc.tl.holdout(adata, time_key, methods=...)`."
        )
        raise ValueError(msg)
    _checks.whole("match_steps", match_steps)
    _checks.real("tol", tol)
    _checks.whole("max_cells", max_cells, least=2)
    _checks.seed(seed)
    _left_out.check_fit_arguments(fit_arguments)
    told = _left_out.told(adata, snapshots, methods, growth_prior, clone_key)
    groups = _left_out.groups(_left_out.between_others(snapshots, times))
    if times is None:
        groups = groups[: MOST_FITS // len(methods)]
    left_out = np.sort(np.concatenate(groups))
    _left_out.warn_if_seen(representation, snapshots, left_out)

    few = {"fit_steps": 0, "score": False, "match_steps": match_steps, **fit_arguments}
    arguments = {**few, "device": str(devices.choose(device)), "seed": seed}
    simulated: dict[int, dict[str, tuple[np.ndarray, np.ndarray]]] = {int(k): {} for k in left_out}
    shown = _arguments.shown(progress)
    for name, predicted in _predictions.by_models(snapshots, groups, methods, told, arguments, tol, shown):
        for k, cells in predicted.cells.items():
            simulated[k][name] = cells
        if predicted.elsewhere:
            _entries.warn(**predicted.fit)
    rows, judged = [], []
    for k, predictions in simulated.items():
        rng = np.random.default_rng([seed, k])
        simple = baselines(snapshots, k, max_cells, rng)
        rows += _predictions.scores(snapshots, k, {**predictions, **simple}, max_cells, rng)
        observed, nearest = (
            rng.permutation(x)[:max_cells] for x in (snapshots.x[snapshots.rows[k]], simple["nearest"][0])
        )
        some = rng.permutation(len(snapshots.rows[k - 1]))[:max_cells]  # the same of all candidates
        drawn = {name: (x[some], its[some]) for name, (x, its) in predictions.items()}
        judged.append(_decision.judged(drawn, nearest, observed, rng))

    table = _decision.table(judged)
    name, reason = table.loc[table["chosen"], "candidate"].item(), _decision.reason(table, len(judged))
    if not adata.is_view:
        stored = {"scores": pd.DataFrame(rows), "candidates": table, "chosen": name, "reason": reason}
        _anndata.write(adata, {("uns", f"{key_added}_holdout"): {"package": _anndata.MARK, **stored}})
    logger.info(reason)
    return Choice(table, methods[name], name, reason)
