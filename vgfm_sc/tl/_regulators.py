from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vgfm_sc import _anndata, _checks
from vgfm_sc.core.dynamics import derivatives
from vgfm_sc.core.reading import ranking
from vgfm_sc.tl import _genes, _model


def regulators(
    adata: AnnData,
    genes: Sequence[str] | None = None,
    *,
    cells: Sequence[int] | Sequence[bool] | np.ndarray | None = None,
    n_pairs: int = 10_000,
    key: str = "vgfm",
    device: str = "auto",
) -> pd.DataFrame:
    """Which genes speed up or slow down which, by the derivatives of the fitted velocity.

    The weight of a pair is the derivative of the target's velocity with respect to the source's expression, all other
    genes held, averaged over cells: the regulatory matrix of TIGON (:cite:p:`Sha24`). A fit on components sees genes
    through them alone: sources with the same loadings cannot be told from each other, and what a gene does beyond the
    components is not seen. These are derivatives of a model of what happened, not the outcome of experiments.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`, of a kind that `vgfm_sc.tl.gene_velocity` takes.
    genes
        Names of sources and targets; `None` takes all that were part of the PCA or the fit.
    cells
        Boolean mask or positions of the cells to average over, say those of one type; `None` takes all. Each counts at
        its own time and under its own condition.
    n_pairs
        How many pairs to return, the strongest; enough for all pairs of 100 genes.
    key
        The fit's ``key_added``.
    device
        Where to evaluate the networks, as in `vgfm_sc.tl.fit`.

    Returns
    -------
    One row a pair, a gene and itself included, the strongest first:

    ``source``, ``target``
        Names of the genes.
    ``weight``
        Change of the target's velocity per change of the source's expression, per unit of time. Above 0 the source
        speeds the target up, below it slows it down.

    Raises
    ------
    KeyError
        No fit under ``key``, a representation that does not lead back to genes, or a gene that is missing.
    TypeError, ValueError
        ``genes``, ``cells`` or ``n_pairs`` cannot be used, a gene was not part of the PCA, or the matrix has changed
        since the PCA.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None)
    >>> vgfm_sc.tl.regulators(adata)
    """
    _, snapshots, models = _model.models_and_cells(adata, key, device)
    rows = _genes.chosen(snapshots, cells, 1)
    _checks.whole("n_pairs", n_pairs)
    loadings = _anndata.read_loadings(adata, key)
    places = _places(adata, loadings, genes)
    each = _model.own(snapshots, models, rows)
    jacobian = sum(
        len(own) / len(rows) * derivatives.velocity_jacobian(model, snapshots.time[own], snapshots.x[own])
        for _, own, model in each
    )
    matrix = loadings.along(each[0].model.scaling.axes, places)
    pairs = ranking.strongest(matrix @ jacobian, matrix, n_pairs)
    names = adata.var_names.to_numpy(dtype=object)[loadings.genes[places]]
    return pd.DataFrame({"source": names[pairs.source], "target": names[pairs.target], "weight": pairs.weight})


def _places(adata: AnnData, loadings: _anndata.Loadings, genes: Sequence[str] | None) -> np.ndarray:
    """Of the named genes among those with loadings."""
    if genes is None:
        return np.arange(len(loadings.genes))
    names = _anndata.names(genes, "genes")
    if not names or len(set(names)) < len(names):
        msg = f"genes must name each gene once, and at least one, got {names}."
        raise ValueError(msg)
    positions = _anndata.gene_positions(adata, names)
    place_of = {position: place for place, position in enumerate(loadings.genes.tolist())}
    unseen = [name for name, position in zip(names, positions.tolist(), strict=True) if position not in place_of]
    if unseen:
        msg = (
            f"{unseen} were not among the {len(place_of)} genes of the PCA or the fit, so nothing is known about them. "
            "Compute a PCA that includes them (`mask_var` of `sc.pp.pca`) and fit again."
        )
        raise ValueError(msg)
    return np.asarray([place_of[position] for position in positions.tolist()])
