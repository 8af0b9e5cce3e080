from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

Kind = Literal["embedding", "bar"]


@_axes.plot
def fate(
    adata: AnnData,
    basis: str | None = None,
    *,
    kind: Kind = "embedding",
    groupby: str | None = None,
    palette: _colors.Palette = None,
    na_color: str = "lightgray",
    legend_loc: str | None = "right margin",
    size: float | None = None,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Probability of each fate: on the cells, a panel for each, or as bars of its mean in groups of cells.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fate`.
    basis
        Basis to draw on, any ``X_<basis>`` of ``obsm``; `None` takes the representation of the fit.
    kind
        ``"embedding"`` or ``"bar"``.
    groupby
        For bars: a column of ``obs``; `None` takes that of the fates.
    palette
        Colours of the fates: a colour map, a list or a mapping; `None` takes ``uns["<column>_colors"]`` if there is
        any.
    na_color
        Colour of probability 0.
    legend_loc
        Where fates are named beside bars: ``"right margin"``, ``"none"`` or a place that matplotlib knows.
    size
        Area of a cell, in points squared; `None` chooses by the number of cells.
    title
        Above the axes, or above all panels.
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
    The figure with ``return_fig=True``; else the axes, a list of them on an embedding, or `None` when the
    figure was shown.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.tl.fate(adata, "branch")
    >>> vgfm_sc.pl.fate(adata)
    """
    if kind not in get_args(Kind):
        msg = f"kind must be one of {list(get_args(Kind))}, got {kind!r}."
        raise ValueError(msg)
    shares = _anndata.read_fate(adata, key).to_numpy(dtype=float)
    about = _anndata.read_result(adata, key)["fate"]
    column, names = str(about["cluster_key"]), [str(name) for name in about["clusters"]]
    colors = _colors.of_categories(adata, column, names, palette)
    given = ax
    if kind == "bar":
        groups = _anndata.read_categories(adata, groupby or column)
        fig, ax = _axes.start(ax)
        left = np.zeros(len(groups.categories))
        for name, share in zip(names, shares.T, strict=True):
            widths = np.asarray([share[groups.codes == k].mean() for k in range(len(left))])
            ax.barh(np.arange(len(left)), widths, 0.8, left=left, color=colors[name])
            left += widths
        ax.set_yticks(np.arange(len(left)), [str(name) for name in groups.categories])
        ax.set(xlabel="mean probability of fate", ylabel=groupby or column, title=title or "", xlim=(0, 1))
        ax.invert_yaxis()
        if not frameon:
            ax.spines[["top", "right"]].set_visible(False)
        _colors.legend(ax, colors, legend_loc if legend_loc != "on data" else "right margin")
        return _axes.finish(fig, ax, given, show, return_fig)

    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    fig, axes = _axes.wrapped(ax, len(names), sharex=True, sharey=True)
    for panel, name, share in zip(axes, names, shares.T, strict=True):
        order = np.argsort(share, kind="stable")
        drawn = panel.scatter(
            x[order, 0],
            x[order, 1],
            c=share[order],
            cmap=LinearSegmentedColormap.from_list(name, [na_color, colors[name]]),
            vmin=0,
            vmax=1,
            s=_axes.point_size(len(x)) if size is None else size,
            linewidths=0,
            rasterized=len(x) > _axes.RASTER_CELLS,
        )
        fig.colorbar(drawn, ax=panel, label="probability")
        _axes.label(panel, basis, name, frameon)
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)
