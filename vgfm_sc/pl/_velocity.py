from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors, _grid

Kind = Literal["grid", "arrows", "stream"]


@_axes.plot
def velocity(
    adata: AnnData,
    basis: str | None = None,
    *,
    kind: Kind = "grid",
    color: str | None = "time",
    layer: str | None = None,
    density: float = 1.0,
    cmap: str = "viridis",
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
    """Velocity over the cells.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
    basis
        Basis to draw on: that of the fit (`None`), or one that `vgfm_sc.tl.project` has laid velocities on.
    kind
        ``"grid"``: arrows of the mean velocity on a grid, where there are cells; ``"arrows"``: of single cells, spread
        evenly over the plane; ``"stream"``: lines along the mean velocity, wider where it is faster. Arrows reach to
        where a cell would be after the time span that is written below them.
    color
        Of the cells: time, a column of ``obs`` or a gene; `None` draws them in ``na_color``.
    layer
        Layer that a gene is read from; `None` is ``X``.
    density
        Arrows or lines per length, relative to the default.
    cmap
        Colour map of numbers.
    palette
        Colours of labels: a colour map, a list or a mapping; `None` takes ``uns["<color>_colors"]`` if there are any.
    na_color
        Colour of cells without a value.
    legend_loc
        Where labels are named: ``"right margin"``, ``"on data"``, ``"none"`` or a place that matplotlib knows.
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
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.pl.velocity(adata, kind="stream", color="branch")
    """
    if kind not in get_args(Kind):
        msg = f"kind must be one of {list(get_args(Kind))}, got {kind!r}."
        raise ValueError(msg)
    if not density > 0:
        msg = f"density must be positive, got {density!r}."
        raise ValueError(msg)
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    v = _axes.plane(_anndata.read_projected(adata, key, basis), f"The velocity on {basis!r}")
    if color is not None:
        _colors.values_of(adata, color, key, layer)  # a wrong name is an error before anything is drawn
    grid = _grid.Grid(x, density)

    fig, ax = _axes.start(given := ax)
    look: dict[str, Any] = {
        "cmap": cmap,
        "palette": palette,
        "na_color": na_color,
        "legend_loc": legend_loc,
        "size": size,
    }
    _colors.cells(ax, adata, x, color, key, _colors.Look(layer=layer, alpha=0.4, **look))
    if kind == "stream":
        _stream(ax, grid, v, density)
    else:
        at, along = grid.mean(v) if kind == "grid" else grid.some(x, v)
        duration = _arrows(ax, grid, at, along)
        if duration:
            said = f"arrows span {_axes.time_name(adata, key)} = {duration:g}"
            ax.annotate(
                said, (1, 0), (0, -_colors.BELOW), "axes fraction", "offset points", ha="right", va="top", size="small"
            )
    _axes.label(ax, basis, title, frameon)
    return _axes.finish(fig, ax, given, show, return_fig)


def _arrows(ax: Axes, grid: _grid.Grid, at: np.ndarray, along: np.ndarray) -> float:
    """Draw ``along`` from ``at`` over a round span of time in which hardly an arrow outgrows `_grid.ARROW`."""
    lengths = np.linalg.norm(along / grid.step, axis=1)
    if not lengths.any():
        return 0.0
    duration = _round_down(_grid.ARROW / float(np.quantile(lengths[lengths > 0], 0.95)))
    shape: dict[str, Any] = {"width": 0.003, "headwidth": 4, "headlength": 4.5, "headaxislength": 4, "minlength": 0.5}
    ends = along * duration
    ax.quiver(*at.T, *ends.T, angles="xy", scale_units="xy", scale=1, color=_colors.ink(), zorder=3, **shape)
    return duration


def _round_down(number: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(number))
    return float(max(k for k in (1, 2, 5) if k * power <= number * (1 + 1e-9)) * power)


def _stream(ax: Axes, grid: _grid.Grid, v: np.ndarray, density: float) -> None:
    u, covered = grid.field(v)
    speed = np.linalg.norm(u / grid.step, axis=2)
    if not (speed[covered] > 0).any():
        return
    fast = np.quantile(speed[covered], 0.95)
    wide = 0.4 + 1.4 * (np.minimum(speed / fast, 1) if fast > 0 else np.zeros_like(speed))
    u = np.where(covered[..., None], u, np.nan)
    streams = ax.streamplot(
        grid.axes[0],
        grid.axes[1],
        u[..., 0].T,
        u[..., 1].T,
        density=1.3 * density,
        color=_colors.ink(),
        linewidth=wide.T,
        arrowsize=0.9,
        zorder=3,
    )
    streams.lines.sticky_edges.x.clear()  # they fit the axes to the grid, which cuts the outermost cells
    streams.lines.sticky_edges.y.clear()
    ax.autoscale_view()
