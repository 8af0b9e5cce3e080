from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

PANEL = (2.7, 2.6)
"""Inches of one of many panels."""

LARGEST = 12.0
"""Dots stop growing at this many times that of mass 1."""


@_axes.plot
def snapshots(
    adata: AnnData,
    basis: str | None = None,
    *,
    color: str | None = None,
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
    """Observed cells above, simulated below, at each time point; the area of a simulated cell is its mass.

    Titles give the energy distance between the two, its floor and the ratio of spread, once `vgfm_sc.tl.evaluate` has
    measured them on all cells of the first time point and in all dimensions of the fit. Scores of an earlier version
    have none of these, and titles then give W1.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate` through the time points.
    basis
        Basis to draw on: that of the fit (`None`), or one that `vgfm_sc.tl.project` has laid the trajectories on.
    color
        A column of labels carried to the trajectories by `vgfm_sc.tl.annotate`.
    palette
        Colours of labels: a colour map, a list or a mapping; `None` takes ``uns["<color>_colors"]`` if there are any.
    na_color
        Colour of cells without a label, and of the other time points behind.
    legend_loc
        Where labels are named: ``"right margin"`` or ``"none"``.
    size
        Area of an observed cell and of mass 1, in points squared; `None` chooses by the number of cells.
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
    The figure with ``return_fig=True``; else the axes, observed before simulated, or `None` when the figure was shown.

    Examples
    --------
    >>> import vgfm_sc
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.tl.simulate(adata)
    >>> vgfm_sc.tl.evaluate(adata)
    >>> vgfm_sc.pl.snapshots(adata)
    """
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    stored = _anndata.read_trajectories(adata, key)
    positions = _axes.plane(_anndata.read_positions(adata, key, basis), f"Basis {basis!r}")
    masses, times = np.asarray(stored["mass"], dtype=float), np.asarray(stored["times"], dtype=float)
    cells = _anndata.simulated_sampling(adata, key)
    at = {k: int(np.abs(times - time).argmin()) for k, time in enumerate(cells.time_points)}
    near = _anndata.SAME_TIME * np.ptp(cells.time_points)
    shown = [k for k, j in at.items() if abs(times[j] - cells.time_points[k]) <= near and len(cells.rows[k])]
    if len(shown) < 2:
        msg = (
            f"The trajectories pass through fewer than two time points of {cells.time_points.tolist()}. Run "
            f"`vgfm_sc.tl.simulate(adata{_anndata.named(key)})` without times."
        )
        raise ValueError(msg)
    scores = titles(_anndata.read_evaluation(adata, key), stored.get("condition"))
    seen_color, made_color = np.full(adata.n_obs, _colors.ink(), dtype=object), None
    if color is not None:
        codes, names = _anndata.read_labels(adata, key, color)
        colors = _colors.of_categories(adata, color, names, palette)
        labels = pd.Series(np.asarray(_anndata.read_categories(adata, color), dtype=object))
        seen_color = labels.map(lambda label: colors.get(str(label), na_color)).fillna(na_color).to_numpy()
        made_color = np.asarray(list(colors.values()))[codes]

    given = ax
    fig, axes = _axes.panels(ax, 2, len(shown), size=PANEL, sharex=True, sharey=True)
    unit, fitted = _axes.time_name(adata, key), _anndata.fitted_basis(adata, key)
    space = "" if basis == fitted else f" (in {fitted})"  # they are not those on an embedding
    options: dict[str, Any] = {"linewidths": 0, "rasterized": len(x) > _axes.RASTER_CELLS}
    area = _axes.point_size(4 * len(x)) if size is None else size
    for column, k in enumerate(shown):
        above, below = axes[:, column]
        for panel in (above, below):
            panel.scatter(x[:, 0], x[:, 1], color=na_color, s=area, alpha=0.25, **options)
        rows, j = cells.rows[k], at[k]
        above.scatter(*x[rows].T, c=list(seen_color[rows]), s=area, alpha=0.7, **options)
        mark = _axes.point_size(4 * len(positions[j])) * np.minimum(masses[j], LARGEST)
        below.scatter(
            *positions[j].T, c="C0" if made_color is None else list(made_color[j]), s=mark, alpha=0.7, **options
        )
        time = cells.time_points[k]
        _axes.label(above, basis, f"{unit} = {time:g}", frameon)
        _axes.label(below, basis, scores[time] + space if time in scores else None, frameon)
        below.title.set_fontsize("small")  # energies beside each other
    for panel in axes.ravel():
        panel.label_outer()
    for panel, name in zip(axes[:, 0], ("observed", "simulated"), strict=True):
        said = f"{name}\n{basis}2" if frameon else name
        panel.set_ylabel(said)
        if not frameon:
            panel.annotate(
                name, (0, 0.5), (-4, 0), "axes fraction", "offset points", ha="right", va="center", rotation=90
            )
    if color is not None and legend_loc not in (None, "none"):
        _colors.legend(axes[0, -1], colors, "right margin")
    _axes.head(fig, given, title)
    return _axes.finish(fig, list(axes.ravel()), given, show, return_fig)


def titles(table: pd.DataFrame | None, condition: str | None = None) -> dict[float, str]:
    """What titles say of each time point that has been evaluated, where there are conditions of one of them."""
    if table is None:
        return {}
    if condition is not None:
        table = table[table["condition"] == condition]
    if "energy" not in table:  # of an earlier version
        return {row.time: f"W1 = {row.w1:#.3g}" for row in table.itertuples()}
    return {
        row.time: f"energy {row.energy:.2g} (floor {row.energy_floor:.2g})\nspread {row.spread:.2f}"
        for row in table.itertuples()
    }
