from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from anndata import AnnData

from vgfm_sc.core.reading import lineages
from vgfm_sc.tl import _lineage


def ancestors(
    adata: AnnData,
    cells: Sequence[int] | Sequence[float] | np.ndarray,
    to: float | str | None = None,
    *,
    condition: str | None = None,
    key: str = "vgfm",
    key_added: str | None = None,
) -> None:
    """Which earlier cells these come from, by the couplings.

    The plans of the fit are followed back from time point to time point: what wot calls ancestors
    (:cite:p:`Schiebinger19`) and moscot ``pull`` (:cite:p:`Klein25`). Growth counts: of two cells that are as near, the
    one that multiplies is the likelier ancestor.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    cells
        Cells of one time point: a boolean mask, positions, or a weight for every cell of ``adata``, 0 for those not
        meant.
    to
        Time point to stop at, as a number or by its label in ``time_map``; `None` goes to the first.
    condition
        After a fit with ``condition_key``, the condition whose couplings are followed; `None` is that of ``cells``,
        which must be of one. Cells of the first time can be followed to a condition that starts from them.
    key
        The fit's ``key_added``.
    key_added
        Column to write; `None` is ``"<key>_ancestors"``.

    Returns
    -------
    `None`. Sets the following field:

    ``adata.obs["vgfm_ancestors"]`` : :class:`pandas.Series` (float32)
        Probability that one of ``cells``, drawn at random (by weight), comes from the cell; it sums to 1 over each
        time point. In the time point of ``cells`` the probability of the draw. NaN at other time points, and in cells
        that no coupling leads to, such as those held out by ``validation``.

    Raises
    ------
    KeyError
        No fit under ``key``.
    TypeError, ValueError
        ``cells`` or ``to`` cannot be used, a time point or all ancestors on the way have been dropped, or the column is
        taken by something else.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.branching()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.ancestors(adata, (adata.obs["time"] == 3) & (adata.obs["cell_type"] == "fate_a"))

    How likely it is that one of them comes from each type:

    >>> adata.obs.groupby(["time", "cell_type"], observed=True)["vgfm_ancestors"].sum()
    """
    name = _lineage.column_name(adata, key, key_added, "ancestors")
    lineage = _lineage.read(adata, cells, to, condition, key, forward=False)
    found = [lineage.weights / np.nansum(lineage.weights)]
    for plan in lineage.plans:
        found.append(lineages.of_ancestors(plan, found[-1]))
        if np.isnan(found[-1]).all():
            msg = "No ancestor of the cells is left in adata. Name a later time point with `to`, or other cells."
            raise ValueError(msg)
    _lineage.write(adata, key, name, lineage.rows, found)
