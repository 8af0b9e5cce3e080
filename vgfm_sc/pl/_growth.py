from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes

CLIP = 0.99
"""Quantile of |growth| at which colours saturate: a few extreme cells must not wash out the rest."""


def growth(
    adata: AnnData,
    basis: str | None = None,
    *,
    cmap: str = "RdBu_r",
    size: float | None = None,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | Figure | None:
    """Growth rate of every cell, colours centred on 0.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    basis
        Basis to draw on, any ``X_<basis>`` of ``obsm``; `None` takes the representation of the fit.
    cmap
        A diverging colour map; its middle is growth 0.
    size
        Area of a cell, in points squared; `None` chooses by the number of cells.
    title
        Above the axes.
    frameon
        Draw the frame and the axis names.
    key
        The fit's ``key_added``.
    ax
        Axes to draw into.
    show
        Show the figure. `None` shows it in interactive sessions when no axes were given.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``; else the axes, or `None` when the figure was shown.
    """
    result = _anndata.read_result(adata, key)
    basis = _axes.fitted_basis(result) if basis is None else basis
    x = _axes.coordinates(adata, basis)
    rate = _anndata.read_growth(adata, key)
    # a fit without any growth still needs a scale
    largest = max(float(np.quantile(np.abs(rate), CLIP)), float(np.finfo(np.float32).tiny))
    fig, ax = _axes.start(ax_given := ax)
    drawn = ax.scatter(
        x[:, 0],
        x[:, 1],
        c=rate,
        cmap=cmap,
        norm=CenteredNorm(0, halfrange=largest),
        s=_axes.point_size(len(x)) if size is None else size,
        linewidths=0,
        rasterized=len(x) > _axes.RASTER_CELLS,
    )
    unit = result["params"]["time_key"]
    fig.colorbar(drawn, ax=ax, label=f"growth rate (per unit of {unit})", extend="both")
    _axes.label(ax, basis, title, frameon)
    return _axes.finish(fig, ax, ax_given, show, return_fig)
