from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes


def trajectories(
    adata: AnnData,
    basis: str | None = None,
    *,
    color: str = "time",
    cmap: str = "viridis",
    na_color: str = "lightgray",
    linewidth: float = 1.0,
    cells: bool = True,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | Figure | None:
    """Simulated trajectories over the cells; the width of a line grows with the mass it carries.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate`.
    basis
        Basis to draw on; `None` takes the representation of the fit, whose first two dimensions are drawn.
    color
        ``"time"``, or ``"mass"`` per unit at the start.
    cmap
        Colour map of ``color``.
    na_color
        Colour of the cells behind when they are not coloured by time.
    linewidth
        Width, in points, of a line of mass 1; width follows the square root of mass.
    cells
        Draw the observed cells behind.
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
    stored = _anndata.read_trajectories(adata, key)
    fitted = _axes.fitted_basis(result)
    basis = fitted if basis is None else basis
    if basis != fitted:
        msg = f"Trajectories are available on basis {fitted!r}, that of the fit, not on {basis!r}."
        raise ValueError(msg)
    if color not in ("time", "mass"):
        msg = f"color must be 'time' or 'mass', got {color!r}."
        raise ValueError(msg)
    positions = np.asarray(stored["positions"])[:, :, :2]
    if positions.shape[2] < 2:
        msg = "The representation has one dimension; two are drawn."
        raise ValueError(msg)
    times, mass = np.asarray(stored["times"], dtype=float), np.asarray(stored["mass"], dtype=float)
    points = np.asarray(result["time_points"], dtype=float)
    norm = Normalize(points[0], points[-1]) if color == "time" else Normalize(mass.min(), mass.max())
    between = mass[:-1] / 2 + mass[1:] / 2
    shade = np.broadcast_to((times[:-1, None] + times[1:, None]) / 2, between.shape) if color == "time" else between

    fig, ax = _axes.start(ax_given := ax)
    if cells:
        x = _axes.coordinates(adata, basis)
        time = _anndata.read_fitted(adata, key)[1].time
        ax.scatter(
            x[:, 0],
            x[:, 1],
            c=colormaps[cmap](norm(time)) if color == "time" else na_color,
            s=_axes.point_size(len(x)),
            alpha=0.25,
            linewidths=0,
            rasterized=len(x) > _axes.RASTER_CELLS,
            zorder=1,
        )
    # one segment for each step of each trajectory, so that colour and width can change along it
    segments = np.stack([positions[:-1], positions[1:]], axis=2).reshape(-1, 2, 2)
    lines = LineCollection(
        list(segments),
        array=shade.ravel(),
        cmap=cmap,
        norm=norm,
        linewidths=linewidth * np.sqrt(between.ravel()),
        alpha=0.8,
        capstyle="round",
        zorder=2,
    )
    ax.add_collection(lines)
    ends = {"start": (positions[0], mass[0], "white"), "end": (positions[-1], mass[-1], "black")}
    for name, (where, weight, face) in ends.items():
        ax.scatter(
            where[:, 0],
            where[:, 1],
            s=10 * weight,
            c=face,
            edgecolors="black",
            linewidths=0.5,
            label=name,
            zorder=3 + (name == "end"),
        )
    ax.autoscale_view()
    ax.legend(loc="best", frameon=False)
    what = params_time_key(result) if color == "time" else "mass (1 at the start)"
    fig.colorbar(lines, ax=ax, label=what)
    _axes.label(ax, basis, title, frameon)
    return _axes.finish(fig, ax, ax_given, show, return_fig)


def params_time_key(result: dict) -> str:
    """The user's name for time."""
    return str(result["params"]["time_key"])
