from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors
from vgfm_sc.pl._perturb import intervals

PANEL = (4.2, 3.4)
"""Inches of a panel."""

CLIP = 0.98
"""Quantile of the size of differences at which colours end."""


@_axes.plot
def compare(
    adata: AnnData,
    basis: str | None = None,
    *,
    cmap: str = "coolwarm",
    na_color: str = "lightgray",
    size: float | None = None,
    palette: _colors.Palette = None,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Two conditions compared: growth of each cell and cluster, shares of fates, and mass over time.

    Differences of clusters, fates and mass are drawn with their 95% intervals, whose meaning `vgfm_sc.tl.compare`
    explains. After a fit with one model there are none.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.compare`.
    basis
        Basis to draw the cells on, any ``X_<basis>`` of ``obsm``; `None` takes the representation of the fit.
    cmap
        A diverging colour map for differences of growth; its middle is no difference.
    na_color
        Colour of cells that were not compared.
    size
        Area of a cell, in points squared; `None` chooses by the number of cells.
    palette
        Colours of the clusters: a colour map, a list or a mapping; `None` takes ``uns["<column>_colors"]`` if there is
        any.
    title
        Above all panels.
    frameon
        Draw the frame on all sides.
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
    >>> adata = vgfm_sc.datasets.branching(treatment="growth", n_samples=3)
    >>> vgfm_sc.tl.fit(
    ...     adata, "time", use_rep="X_state", condition_key="condition", sample_key="sample", n_models=5
    ... )
    >>> vgfm_sc.tl.compare(adata, "control", "treated", cluster_key="cell_type")
    >>> vgfm_sc.pl.compare(adata)
    """
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    stored, difference = _anndata.read_comparison(adata, key)
    table = stored["table"].astype({"effect": str, "cluster": str})
    reference, other = str(stored["reference"]), str(stored["other"])
    unit, with_clusters = _axes.time_name(adata, key), "cluster_key" in stored

    given = ax
    fig, axes = _axes.wrapped(ax, 4 if with_clusters else 3, PANEL)
    known = np.isfinite(difference)
    largest = max(float(np.quantile(np.abs(difference[known]), CLIP)), float(np.finfo(np.float32).tiny))
    area = _axes.point_size(len(x)) if size is None else size
    look: dict[str, Any] = {"s": area, "linewidths": 0, "rasterized": len(x) > _axes.RASTER_CELLS}
    axes[0].scatter(x[~known, 0], x[~known, 1], color=na_color, **look)
    norm = CenteredNorm(0, halfrange=largest)
    drawn = axes[0].scatter(x[known, 0], x[known, 1], c=difference[known], cmap=cmap, norm=norm, **look)
    _axes.label(axes[0], basis, f"{other} less {reference}", frameon)
    fig.colorbar(drawn, ax=axes[0], label=f"difference of growth (per unit of {unit})", extend="both")

    parts = [("growth", "growth", f"difference (per unit of {unit})")]
    if with_clusters:
        parts.append(("fate", "fates", "difference of shares"))
    for panel, (effect, name, xlabel) in zip(axes[1:], parts, strict=False):
        part = table[table["effect"] == effect]
        names, shades = ["all cells"], [_colors.ink()]
        if with_clusters:
            names = part["cluster"].tolist()
            colors = _colors.of_categories(adata, str(stored["cluster_key"]), names, palette)
            shades = [colors[cluster] for cluster in names]
        intervals(panel, part, names, shades)
        panel.set(title=name, xlabel=xlabel)
    mass, last = stored["mass"], axes[-1]
    last.fill_between(mass["time"], mass["low"], mass["high"], color=_colors.ink(), alpha=0.2, linewidth=0)
    last.plot(mass["time"], mass["estimate"], color=_colors.ink(), marker=".")
    last.axhline(0, color=_colors.ink(), linewidth=0.8, linestyle=":")
    last.set(title="mass", xlabel=unit, ylabel=f"log ratio, {other} over {reference}")
    if not frameon:
        for panel in axes[1:]:
            panel.spines[["top", "right"]].set_visible(False)
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)
