from __future__ import annotations

from typing import Any

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc.pl import _axes, _colors
from vgfm_sc.pl._growth import growth
from vgfm_sc.pl._mass import mass
from vgfm_sc.pl._trajectories import trajectories
from vgfm_sc.pl._velocity import velocity


@_axes.plot
def dynamics(
    adata: AnnData,
    basis: str | None = None,
    *,
    color: str | None = None,
    cmap: str = "viridis",
    palette: _colors.Palette = None,
    na_color: str = "lightgray",
    legend_loc: str | None = "right margin",
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """A fit on one page: trajectories, velocity, growth and total mass.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate` and, for another basis than that of the fit, `vgfm_sc.tl.project`.
    basis
        Basis to draw on; `None` takes that of the fit.
    color
        A column of labels carried to the trajectories by `vgfm_sc.tl.annotate`, for all panels but growth; `None`
        colours by time.
    cmap
        Colour map of time.
    palette
        Colours of labels: a colour map, a list or a mapping; `None` takes ``uns["<color>_colors"]`` if there are any.
    na_color
        Colour of cells without a value.
    legend_loc
        Where labels are named: ``"right margin"``, ``"none"`` or a place that matplotlib knows.
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
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.tl.simulate(adata)
    >>> vgfm_sc.pl.dynamics(adata, return_fig=True).savefig("dynamics.png")
    """
    given = ax
    fig, axes = _axes.panels(ax, 2, 2)
    shared: dict[str, Any] = {"frameon": frameon, "key": key, "show": False}
    # labels are the same in all panels: named beside one of them they leave room to the others
    elsewhere = "none" if legend_loc == "right margin" else legend_loc
    colors: dict[str, Any] = {"cmap": cmap, "na_color": na_color, "palette": palette, "color": color or "time"}
    trajectories(adata, basis, title="trajectories", ax=axes[0, 0], legend_loc=elsewhere, **colors, **shared)
    velocity(adata, basis, kind="stream", title="velocity", ax=axes[0, 1], legend_loc=legend_loc, **colors, **shared)
    growth(adata, basis, title="growth", ax=axes[1, 0], **shared)
    mass(adata, color, palette=palette, legend_loc=elsewhere, title="mass", ax=axes[1, 1], **shared)
    _axes.head(fig, given, title)
    return _axes.finish(fig, list(axes.ravel()), given, show, return_fig)
