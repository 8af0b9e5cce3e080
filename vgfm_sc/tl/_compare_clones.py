from __future__ import annotations

import logging
import warnings

import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks, get
from vgfm_sc.tl import _clones

logger = logging.getLogger(__name__)


def compare_clones(
    adata: AnnData, clone_key: str, *, key: str = "vgfm", n_shuffles: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Compare descendants, fates and growth with clones seen at several time points.

    Cells with the same lineage barcode descend from one cell. So they show what a fit to unpaired snapshots has to
    infer: which cells descend from which, what the relatives of a cell become, and which clones grow. Compare a fit
    that was not told of them: one with ``clone_key`` agrees with its own barcodes whether it is right or not.

    Every score stands beside its mean for shuffled clones, which tells how well clones of these sizes agree with the
    fit by chance. The barcodes are permuted among the cells compared of each time point; for fates, the cells of the
    last time point keep theirs. A fit that scores no better than this knows only the time of a cell. Perfect scores are
    out of reach too: cells of one clone differ, and the shares and sizes of clones with few cells are mostly chance.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`; fates are compared if `vgfm_sc.tl.fate` has been run, too.
    clone_key
        Column of ``obs`` with the barcodes: categories, strings or integers. Cells where it is missing have none.
    key
        The fit's ``key_added``.
    n_shuffles
        How often barcodes are permuted.
    seed
        Of the permutations.

    Returns
    -------
    One row for each score; kept in ``uns["vgfm"]["clones"]["table"]``, unless ``adata`` is a view, with what
    `vgfm_sc.pl.clones` draws:

    ``of``
        ``"descendants"``, ``"fates"`` or ``"growth"``; or ``"barcodes"``, where cells that cannot be compared are
        counted.
    ``time``, ``to``
        Descendants and growth are compared over the intervals between neighbouring time points. Fates are compared at
        every time point before the last, and at all together, where ``time`` is NaN.
    ``cluster``
        Of fates, the cluster; empty in other rows.
    ``score``
        *Descendants*: ``"share"``, the share of the mass that cells send each other by the coupling that stays in the
        clone; and ``"auroc"``, the probability that the coupling links a pair of cells of the same clone more strongly
        than a pair of two clones. *Fates*: ``"pearson"``, the correlation over cells of
        the predicted probability with the share of the cluster among the cells of the clone at the last time point;
        ``"auroc"`` of cells whose clones have one fate only; ``"predicted"`` and ``"observed"``, the means of both;
        ``"ece"``, the expected calibration error, which is the mean distance of the two in tenths of predicted
        probability, weighted by numbers of cells. *Growth*: ``"pearson"`` and ``"spearman"``, over clones, of the log
        ratio of clone sizes with the log of the mean ``vgfm_mass`` of their cells. *Barcodes*: ``"without"`` and
        ``"one_time"``, the numbers of cells that have no barcode, and of cells of clones seen at one time point only.
    ``value``
        The score. NaN where there are too few clones to tell.
    ``shuffled``, ``shuffled_sd``
        Mean and standard deviation of the score for shuffled clones.
    ``n_cells``, ``n_clones``
        Cells of ``time`` that are compared, and their clones. Of barcodes, all cells of ``time``, and the clones seen
        at one time point only.

    ``uns["vgfm"]["clones"]`` also holds ``clone_key`` and three tables, of which ``shuffled`` is that of the first
    permutation: ``growth``, a row for each clone and interval, with the log ratios of its size ``predicted`` and
    ``observed``; and where there are fates, ``fates``, a row for each clone and cluster, with the mean probability
    ``predicted`` before the last time point and the share ``observed`` there, and ``calibration``, a row for each
    cluster and tenth of probability, with the means of both and ``shuffled``, the mean share of all permutations.

    Raises
    ------
    KeyError
        No fit under ``key``, or no column ``clone_key``; or the fit's coupling or masses are gone, as in cells that it
        has not seen.
    TypeError
        The column holds floating-point numbers.
    ValueError
        The column has one value, or as many as cells, or no clone with cells at two time points; or it holds ``""``,
        ``"nan"`` or -1, which stand for missing values. Or the fit has conditions, and ``adata`` cells of several.

    Warns
    -----
    UserWarning
        The fit used barcodes itself; no clone has cells at both ends of an interval, or none has cells both at the
        last time point and before.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching(n_clones=50)
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.fate(adata, "cell_type")
    >>> vgfm_sc.tl.compare_clones(adata, "true_clone")
    """
    _checks.whole("n_shuffles", n_shuffles)
    _checks.seed(seed)
    result, sampling = _anndata.fitted_sampling(adata, key)
    sampling = sampling.under(_anndata.condition_meant(adata, key, None))
    codes = _anndata.read_clones(adata, clone_key, sampling.rows)
    cells = _clones.Cells(sampling, codes, _anndata.clone_names(adata, clone_key), n_shuffles, seed)
    plans, mass = get.couplings(adata, key), _anndata.read_mass(adata, key)
    ends = _clones.read_ends(adata, key, sampling)

    used = result["params"].get("clone_key")
    if used is not None:
        msg = (
            f"The fit was told of the barcodes of obs[{used!r}], so its agreement with clones does not show that it is "
            "right. To judge a fit by them, run `vgfm_sc.tl.fit` without clone_key."
        )
        warnings.warn(msg, UserWarning, stacklevel=2)
    left_out = _clones.counted(cells)
    found = [left_out, *_clones.over_intervals(cells, plans, mass)]
    if ends is not None:
        found.append(_clones.of_fates(cells, ends))
    for message in (message for part in found for message in part.warnings):
        warnings.warn(message, UserWarning, stacklevel=2)
    table = pd.DataFrame([row for part in found for row in part.rows], columns=_clones.COLUMNS)
    logger.info("compared clones of obs[%r]; left out: %s", clone_key, _clones.told(left_out))
    if ends is None:
        logger.info("fates are not compared: run `vgfm_sc.tl.fate(adata, cluster_key=...%s)`", _anndata.named(key))
    if not adata.is_view:
        about = {"clone_key": clone_key, "table": table, **_clones.joined(found)}
        _anndata.write(adata, {("uns", key): {**result, "clones": about}})
    return table
