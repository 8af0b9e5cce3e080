from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes

CLIP = 0.98
"""Quantile of |growth| at which colours saturate: a few extreme cells must not wash out the rest."""


@_axes.plot
def growth(
    adata: AnnData,
    basis: str | None = None,
    *,
    by_time: bool = False,
    cmap: str = "coolwarm",
    na_color: str = "lightgray",
    size: float | None = None,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Growth rate of every cell, colours centred on 0.

    Its level depends on what the counts mean, and single cells are less certain than branches: see
    :doc:`When not to trust it </trust>`.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    basis
        Basis to draw on, any ``X_<basis>`` of ``obsm``; `None` takes the representation of the fit.
    by_time
        A panel for each time point, with the other cells behind.
    cmap
        A diverging colour map; its middle is growth 0. That of the default can be seen on white and on black.
    na_color
        Colour of the cells of other time points.
    size
        Area of a cell, in points squared; `None` chooses by the number of cells.
    title
        Above the axes; with ``by_time`` before the time.
    frameon
        Draw the frame and the axis names.
    key
        The fit's ``key_added``.
    ax
        Axes to draw into; several panels take their place.
    show
        Show the figure. `False` returns the axes and leaves the figure open, for ``plt.savefig``; `None` shows unless
        axes were given or ``scanpy.settings.autoshow`` is off.
    return_fig
        Return the figure, to change it or to save it with ``savefig``; it is not shown, and pyplot does not keep it.

    Returns
    -------
    The figure with ``return_fig=True``; else the axes, a list of them with ``by_time``, or `None` when the figure was
    shown.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.pl.growth(adata, by_time=True)
    """
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    rate = _anndata.read_growth(adata, key)
    # a fit without any growth still needs a scale
    largest = max(float(np.quantile(np.abs(rate), CLIP)), float(np.finfo(np.float32).tiny))
    norm = CenteredNorm(0, halfrange=largest)
    area = _axes.point_size(len(x)) if size is None else size
    unit = _axes.time_name(adata, key)
    groups: list[tuple[np.ndarray, str | None]] = [(np.arange(len(x)), title)]
    if by_time:
        _, snapshots = _anndata.fitted_sampling(adata, key)
        before = "" if title is None else f"{title}, "
        named = zip(snapshots.rows, snapshots.time_points, strict=True)
        groups = [(rows, f"{before}{unit} = {time:g}") for rows, time in named if len(rows)]

    given = ax
    if by_time:
        fig, axes = _axes.wrapped(ax, len(groups), sharex=True, sharey=True)
    else:
        fig, ax = _axes.start(ax)
        axes = [ax]
    shared: dict[str, Any] = {"s": area, "linewidths": 0, "rasterized": len(x) > _axes.RASTER_CELLS}
    for panel, (rows, name) in zip(axes, groups, strict=True):
        if len(rows) < len(x):
            others = np.delete(x, rows, axis=0)
            panel.scatter(others[:, 0], others[:, 1], color=na_color, alpha=0.3, **shared)
        drawn = panel.scatter(x[rows, 0], x[rows, 1], c=rate[rows], cmap=cmap, norm=norm, **shared)
        _axes.label(panel, basis, name, frameon)
    fig.colorbar(drawn, ax=axes, label=f"growth rate (per unit of {unit})", extend="both")
    return _axes.finish(fig, axes if by_time else axes[0], given, show, return_fig)
