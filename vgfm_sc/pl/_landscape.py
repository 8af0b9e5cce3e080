from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors, _grid
from vgfm_sc.pl._trajectories import lines_of

LEVELS = 16
"""Steps of height, at most: enough to see the shape, few enough to tell one from the next."""

CLIP = 0.98
"""Quantile of the height at which colours saturate: a few cells far out must not wash out the rest."""

SMALLER = 4.0
"""Cells are this many times smaller than in other plots: the landscape lies behind them."""


@_axes.plot
def landscape(
    adata: AnnData,
    basis: str | None = None,
    *,
    cells: bool = True,
    trajectories: bool = False,
    cmap: str = "viridis",
    na_color: str = "lightgray",
    size: float | None = None,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Landscape as filled contours: the mean over the cells around each place, blank where there are none.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.landscape`. One run with a ``time`` is easier to read: else cells of several
        times, whose heights have nothing to do with each other, are averaged where they lie together.
    basis
        Basis to draw on, any ``X_<basis>`` of ``obsm``; `None` takes the representation of the fit.
    cells
        Draw the cells as small dots.
    trajectories
        Draw the trajectories of `vgfm_sc.tl.simulate`; on a basis other than that of the fit after
        `vgfm_sc.tl.project`.
    cmap
        Colour map of the height.
    na_color
        Colour of the cells.
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
    >>> adata = vgfm_sc.datasets.bistable(n_cells=250, n_dims=2)
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None)
    >>> vgfm_sc.tl.landscape(adata, time=0.5)
    >>> vgfm_sc.tl.simulate(adata, noise=0.5)
    >>> vgfm_sc.pl.landscape(adata, trajectories=True)
    """
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    height, time = _anndata.read_landscape(adata, key)
    known = np.isfinite(height)
    if not known.any():
        msg = f"obs['{key}_landscape'] is missing in all cells."
        raise ValueError(msg)
    positions = None
    if trajectories:  # what is missing is an error before anything is drawn
        positions = _axes.plane(_anndata.read_positions(adata, key, basis), f"Basis {basis!r}")
        mass = np.asarray(_anndata.read_trajectories(adata, key)["mass"], dtype=float)

    fig, ax = _axes.start(given := ax)
    grid = _grid.Grid(x[known], 1.0)
    mean, covered = grid.field(height[known, None])
    surface = np.ma.masked_where(~covered, mean[..., 0])
    of_nodes = mean[covered] if covered.any() else height[known]
    low, high = float(of_nodes.min()), float(np.quantile(of_nodes, CLIP))
    levels = MaxNLocator(LEVELS).tick_values(low, max(high, low + 1e-3))  # a flat one still needs a scale
    drawn = ax.contourf(*grid.axes, surface.T, levels=levels, cmap=cmap, extend="max", zorder=0.5)
    drawn.sticky_edges.x.clear()  # they fit the axes to the grid, which cuts the outermost cells
    drawn.sticky_edges.y.clear()
    if cells:
        area = _axes.point_size(len(x)) / SMALLER if size is None else size
        _colors.cells(ax, adata, x, None, key, _colors.Look(na_color=na_color, size=area, alpha=0.7))
    if positions is not None:
        lines = lines_of(positions, mass[:-1] / 2 + mass[1:] / 2, 1.0)
        lines.set_color(_colors.ink())
        ax.add_collection(lines)
    ax.autoscale_view()
    at = "" if time is None else f" at {_axes.time_name(adata, key)} = {time:g}"
    fig.colorbar(drawn, ax=ax, label=f"-log density{at}")
    _axes.label(ax, basis, title, frameon)
    return _axes.finish(fig, ax, given, show, return_fig)
