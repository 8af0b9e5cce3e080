from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.auto import tqdm

from vgfm_sc import _anndata
from vgfm_sc.core import jobs
from vgfm_sc.core.reading import perturbation
from vgfm_sc.tl import _arguments, _changes, _perturbations


def screen(
    adata: AnnData,
    genes: Sequence[str],
    cluster_key: str,
    *,
    to: _changes.Wanted = "knockout",
    held: bool = True,
    noise: float = 0.0,
    start: float | str | Sequence[int] | np.ndarray | None = None,
    n_cells: int = 200,
    n_replicates: int | None = None,
    condition: str | None = None,
    key: str = "vgfm",
    seed: int = 0,
    tol: float = 1e-4,
    device: str = "auto",
    progress: bool | None = None,
) -> pd.DataFrame:
    """Change many genes, one at a time, and rank them by what that does to fates and growth.

    Each gene is changed as `vgfm_sc.tl.perturb` does, in the same cells and compared with the same unchanged runs.
    What that page says about intervals holds here: only with the models of an ensemble do they cover what a model may
    have learnt by chance. A ``joblib.parallel_config`` around the call spreads the genes over processes or machines,
    which does not change the result.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit` on a PCA of this object or on genes.
    genes
        Names of the genes.
    cluster_key
        Column of ``obs`` with the clusters of the last time point, the fates, as in `vgfm_sc.tl.fate`.
    to
        What each gene is set to, as a value of ``genes`` in `vgfm_sc.tl.perturb`.
    held, noise, start, n_cells, n_replicates, condition, key, seed, tol, device
        As in `vgfm_sc.tl.perturb`.
    progress
        Show a progress bar. `None` does unless ``scanpy.settings.verbosity`` is ``"error"``.

    Returns
    -------
    One row for each gene and effect. The effects are those of `vgfm_sc.tl.perturb`, fates first; within an effect the
    gene with the largest estimate in size comes first:

    ``effect``, ``fate``, ``names``
        The effect, its cluster if it is a fate, and the gene.
    ``unchanged``, ``changed``, ``estimate``, ``low``, ``high``, ``t``, ``pvals``
        As in `vgfm_sc.tl.perturb`.
    ``pvals_adj``
        Adjusted for the number of genes by Benjamini and Hochberg, each effect for itself.
    ``carried``
        Share of the variance of the gene that the representation carries.
    ``outside_start``, ``outside_end``
        Share of the changed cells that lie where there are no cells, as in `vgfm_sc.tl.perturb`.

    Sets the following field:

    ``adata.uns["vgfm"]["screen"]`` : :class:`dict`
        ``table``, as returned; ``cluster_key``; ``held``; ``of``: ``"cells"`` or ``"models"``, what replicates are.

    Raises
    ------
    KeyError, TypeError, ValueError
        As `vgfm_sc.tl.perturb`; or a gene is named twice.

    Warns
    -----
    UserWarning
        As `vgfm_sc.tl.perturb`, once for all genes.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.regulatory_network()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None, n_models=3)
    >>> vgfm_sc.tl.screen(adata, ["driver_a", "driver_b", "cycle"], "branch")
    """
    names = _anndata.names(genes, "genes")
    _changes.check_wanted(to, "to")
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        msg = f"genes must name each gene once, and at least one; named more than once: {twice[: _changes.MOST_NAMED]}."
        raise ValueError(msg)
    setting = _perturbations.prepared(
        adata,
        cluster_key,
        held=held,
        start=start,
        points=1,
        noise=noise,
        n_cells=n_cells,
        n_replicates=n_replicates,
        condition=condition,
        key=key,
        seed=seed,
        tol=tol,
        device=device,
    )
    scaling = setting.model.scaling
    found = _changes.read(adata, dict.fromkeys(names, to), setting.snapshots.x, scaling, key)
    changes = [_changes.change(found, [name]) for name in names]
    _changes.warn(found, changes, setting.groups[0].x, scaling)
    setting.warn_of_one_model(n_replicates)

    before = perturbation.baseline(setting.groups, setting.trial)
    work = [(setting.groups, before, change, setting.trial) for change in changes]
    tables = []
    with tqdm(total=len(work), desc="genes", disable=not _arguments.shown(progress)) as bar:
        for k, effects in enumerate(jobs.each(perturbation.perturbed, work)):
            table = setting.table(effects)
            table.insert(2, "names", names[k])
            where = {"outside_start": setting.outside_start(changes[k]), "outside_end": effects.outside.mean()}
            tables.append(table.assign(carried=found.carried[k], **where))
            bar.update()
    table = _ranked(pd.concat(tables, ignore_index=True))
    about = {"table": table, "cluster_key": cluster_key, "held": held, "of": setting.of}
    _anndata.write_derived(adata, key, {}, screen=about)
    return table.copy()


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Adjusted for the number of genes, and the largest first, within each effect."""
    from scipy import stats  # half a second

    parts = []
    for _, part in table.groupby(["effect", "fate"], sort=False):
        place = part.columns.get_loc("pvals") + 1
        part = part.iloc[part["estimate"].abs().argsort(kind="stable")[::-1]].copy()
        part.insert(place, "pvals_adj", stats.false_discovery_control(part["pvals"]))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
