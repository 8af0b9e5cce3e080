from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

WIDEST = 4.0
"""Widths of lines stop growing at this many times that of mass 1: one prolific cell must not cover the others."""

MARKS_AREA = 500
"""Starts and ends of mass 1 share this area (points squared), within `MARK_AREA`."""

MARK_AREA = 1.5, 9.0
"""The smallest and the largest area of one."""


@_axes.plot
def trajectories(
    adata: AnnData,
    basis: str | None = None,
    *,
    color: str = "time",
    cells: str | bool = True,
    cmap: str = "viridis",
    palette: _colors.Palette = None,
    na_color: str = "lightgray",
    legend_loc: str | None = "right margin",
    linewidth: float = 1.0,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Simulated trajectories over the cells; the width of a line grows with the mass it carries.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate`.
    basis
        Basis to draw on: that of the fit (`None`), or one that `vgfm_sc.tl.project` has laid them on.
    color
        Of the lines: ``"time"``; ``"mass"`` per unit at the start; ``"fate"``, the likeliest of the cell it starts from
        (after `vgfm_sc.tl.fate`); or what `vgfm_sc.tl.annotate` has carried to the trajectories: of labels, the one
        where the line ends, of a gene or a column of numbers, its value along the line.
    cells
        Of the observed cells behind: a column of ``obs`` or a gene; `True` takes what colours the lines; `False`
        leaves them out.
    cmap
        Colour map of time, mass and other numbers.
    palette
        Colours of labels: a colour map, a list or a mapping; `None` takes ``uns["<column>_colors"]`` if there are any.
    na_color
        Colour of cells behind lines coloured by mass.
    legend_loc
        Where labels are named: ``"right margin"``, ``"on data"``, ``"none"`` or a place that matplotlib knows.
    linewidth
        Width, in points, of a line of mass 1; width follows the square root of mass.
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
    >>> vgfm_sc.tl.simulate(adata)
    >>> vgfm_sc.pl.trajectories(adata, color="mass")
    """
    _colors.check_color(color)
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    stored = _anndata.read_trajectories(adata, key)
    positions = _axes.plane(_anndata.read_positions(adata, key, basis), f"Basis {basis!r}")
    times, mass = np.asarray(stored["times"], dtype=float), np.asarray(stored["mass"], dtype=float)
    between = mass[:-1] / 2 + mass[1:] / 2
    along = {"time": times[:, None] + 0 * mass, "mass": mass}.get(color)
    along = _anndata.read_number(adata, key, color) if along is None else along
    column, groups = (color, None) if along is not None else _groups(adata, color, key)
    if cells is True:
        behind = {"time": _axes.time_name(adata, key), "mass": None}.get(column, column)
    else:
        behind = cells or None
    # a wrong name is an error before anything is drawn
    shown = None if behind is None else _colors.values_of(adata, behind, key)
    colors = {} if groups is None else _colors.of_categories(adata, column, list(groups.categories), palette)

    fig, ax = _axes.start(given := ax)
    same = behind is not None and (behind == column or (column == "time" and behind == _axes.time_name(adata, key)))
    if cells:
        look: dict[str, Any] = {"cmap": cmap, "palette": palette, "na_color": na_color, "alpha": 0.35}
        place = None if same and groups is None else legend_loc
        _colors.cells(ax, adata, x, behind, key, _colors.Look(legend_loc=place, bar=not same, **look))
    lines = lines_of(positions, between, linewidth)
    if along is not None:
        lines.set(array=((along[:-1] + along[1:]) / 2).ravel(), cmap=cmap)
        of_all = np.asarray(shown if same else along)  # cells behind in the same colours: one scale
        lines.set_norm(
            _colors.time_norm(adata, key) if color == "time" else Normalize(np.nanmin(of_all), np.nanmax(of_all))
        )
    elif groups is not None:
        listed = np.asarray([*colors.values(), na_color])  # code -1, a cell without a value, takes the last
        lines.set_color(list(np.broadcast_to(listed[groups.codes], between.shape).ravel()))
    ax.add_collection(lines)
    _ends(ax, positions, mass)
    ax.autoscale_view()
    if groups is None:
        name = {"time": _axes.time_name(adata, key), "mass": "mass (1 at the start)"}.get(color, color)
        bar = fig.colorbar(lines, ax=ax, label=name)
        bar.solids.set_alpha(1)  # type: ignore[union-attr]
    elif behind != column:
        _colors.legend(ax, colors, legend_loc if legend_loc != "on data" else "right margin")
    _axes.label(ax, basis, title, frameon)
    return _axes.finish(fig, ax, given, show, return_fig)


def lines_of(positions: np.ndarray, between: np.ndarray, linewidth: float) -> LineCollection:
    """One segment for each step of each trajectory, so that colour and width can change along it.

    ``positions``, shape ``(n_times, n, 2)``; ``between``, the mass on each step, shape ``(n_times - 1, n)``.
    """
    segments = np.stack([positions[:-1], positions[1:]], axis=2).reshape(-1, 2, 2)
    widths = linewidth * np.minimum(np.sqrt(between.ravel()), WIDEST)
    return LineCollection(list(segments), linewidths=widths, alpha=0.6, capstyle="round", zorder=2)


def _groups(adata: AnnData, color: str, key: str) -> tuple[str, pd.Categorical]:
    """Column and labels of the trajectories: where they end, or the likeliest fate of the cell they start from."""
    if color != "fate" or "fate" in adata.obs:
        codes, categories = _anndata.read_labels(adata, key, color)
        return color, pd.Categorical.from_codes(codes[-1], categories)
    fate = _anndata.read_fate(adata, key)
    cells = np.asarray(_anndata.read_trajectories(adata, key)["cells"], dtype=str)
    rows = pd.Index(fate.index.astype(str)).get_indexer_for(cells)
    if len(rows) != len(cells) or (rows < 0).any():
        msg = "The cells that trajectories start from are not in adata, or their names are not unique."
        raise ValueError(msg)
    about = _anndata.read_result(adata, key)["fate"]
    categories = [str(name) for name in about["clusters"]]
    return str(about["cluster_key"]), pd.Categorical.from_codes(fate.to_numpy()[rows].argmax(axis=1), categories)


def _ends(ax: Axes, positions: np.ndarray, mass: np.ndarray) -> None:
    """Starts are rings, ends are dots, their area the mass."""
    ink, paper = _colors.ink(), ax.get_facecolor()
    looks = {"start": (0, paper), "end": (-1, ink)}
    for name, (k, face) in looks.items():
        area = np.clip(MARKS_AREA / len(mass[k]), *MARK_AREA) * np.minimum(mass[k], WIDEST**2)
        x, y = positions[k].T
        ax.scatter(x, y, s=area, c=[face], edgecolors=ink, linewidths=0.4, zorder=3 - k, label=name)
    marks = [
        Line2D([], [], marker="o", linestyle="", markersize=4, mfc=face, mec=ink, mew=0.5, label=name)
        for name, (_, face) in looks.items()
    ]
    _colors.below(ax, marks)
