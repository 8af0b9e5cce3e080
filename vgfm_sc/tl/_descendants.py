from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from vgfm_sc.core.reading import lineages
from vgfm_sc.tl import _lineage


def descendants(
    adata: AnnData,
    cells: Sequence[int] | Sequence[float] | np.ndarray,
    to: float | str | None = None,
    *,
    condition: str | None = None,
    key: str = "vgfm",
    key_added: str | None = None,
) -> None:
    """Which later cells descend from these, and how many, by the couplings.

    The plans of the fit are followed from time point to time point: what wot calls descendants
    (:cite:p:`Schiebinger19`) and moscot ``push`` (:cite:p:`Klein25`). Growth counts: a cell that multiplies has more
    descendants. Divided by its sum over a time point the result is that of wot; moscot lets every cell hand on as much
    as any other.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    cells
        Cells of one time point: a boolean mask, positions, or a weight for every cell of ``adata``, 0 for those not
        meant.
    to
        Time point to stop at, as a number or by its label in ``time_map``; `None` goes to the last.
    condition
        After a fit with ``condition_key``, the condition whose couplings are followed; `None` is that of ``cells``,
        which must be of one. Cells of the first time can be followed to a condition that starts from them.
    key
        The fit's ``key_added``.
    key_added
        Column to write; `None` is ``"<key>_descendants"``.

    Returns
    -------
    `None`. Sets the following field:

    ``adata.obs["vgfm_descendants"]`` : :class:`pandas.Series` (float32)
        Probability that the cell descends from one of ``cells``, that is the share of its mass that does; with weights
        the mean weight of its ancestors. Its sum over a time point is the number of observed cells that descend from
        them, or its mean times the total mass that of their descendants. In the time point of ``cells`` their weights,
        1 with a mask. NaN at other time points, and in cells that no coupling leads to, such as those held out by
        ``validation``.

    Raises
    ------
    KeyError
        No fit under ``key``.
    TypeError, ValueError
        ``cells`` or ``to`` cannot be used, a time point on the way has been dropped, or the column is taken by
        something else.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.descendants(adata, (adata.obs["time"] == 1) & (adata.obs["cell_type"] == "progenitor"))

    How many cells of each type descend from them:

    >>> adata.obs.groupby(["time", "cell_type"], observed=True)["vgfm_descendants"].sum()
    """
    name = _lineage.column_name(adata, key, key_added, "descendants")
    lineage = _lineage.read(adata, cells, to, condition, key, forward=True)
    found = [lineage.weights]
    for plan in lineage.plans:
        found.append(lineages.of_descendants(plan, found[-1]))
    _lineage.write(adata, key, name, lineage.rows, found)
