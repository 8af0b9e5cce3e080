from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes

CLIP = 0.99
"""Quantile at which colours saturate: a few extreme cells must not wash out the rest."""


@_axes.plot
def uncertainty(
    adata: AnnData,
    basis: str | None = None,
    *,
    cmap: str = "plasma",
    size: float | None = None,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """How far the models of an ensemble are apart at every cell, in growth and in velocity.

    After `vgfm_sc.tl.growth_error`, the panel of growth shows its error bar instead, which is how far growth may be
    from the truth.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit` with ``n_models`` above 1.
    basis
        Basis to draw on, any ``X_<basis>`` of ``obsm``; `None` takes the representation of the fit.
    cmap
        A sequential colour map. All of the default can be seen on white and on black.
    size
        Area of a cell, in points squared; `None` chooses by the number of cells.
    title
        Above all panels.
    frameon
        Draw the frame and the axis names.
    key
        The fit's ``key_added``.
    ax
        Axes whose place the panels take.
    show
        Show the figure. `False` returns the axes and leaves the figure open, for ``plt.savefig``; `None` shows unless
        axes were given or ``scanpy.settings.autoshow`` is off.
    return_fig
        Return the figure, to change it or to save it with ``savefig``; it is not shown, and pyplot does not keep it.

    Returns
    -------
    The figure with ``return_fig=True``; else the axes, or `None` when the figure was shown.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", n_models=5)
    >>> vgfm_sc.pl.uncertainty(adata)
    """
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    spread = _anndata.read_sd(adata, key)
    error = adata.obs.get(f"{key}_growth_error")
    if error is not None:
        spread["growth"] = error.to_numpy(dtype=float)
    of_growth, unit = "standard deviation" if error is None else "error bar", _axes.time_name(adata, key)
    names = {
        "growth": ("growth", f"{of_growth} (per unit of {unit})"),
        "velocity": ("velocity", f"distance from the mean (per unit of {unit})"),
    }

    given = ax
    fig, panels = _axes.panels(ax, 1, 2, sharex=True, sharey=True)
    axes = list(panels.ravel())
    for panel, (what, (name, said)) in zip(axes, names.items(), strict=True):
        values = spread[what]
        order = np.argsort(values, kind="stable")
        drawn = panel.scatter(
            *x[order].T,
            c=values[order],
            cmap=cmap,
            vmin=0,
            vmax=max(float(np.quantile(values, CLIP)), float(np.finfo(np.float32).tiny)),
            s=_axes.point_size(len(x)) if size is None else size,
            linewidths=0,
            rasterized=len(x) > _axes.RASTER_CELLS,
        )
        fig.colorbar(drawn, ax=panel, label=said, extend="max")
        _axes.label(panel, basis, name, frameon)
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)
