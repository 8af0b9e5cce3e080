from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors
from vgfm_sc.pl._trajectories import lines_of

PANEL = (4.2, 3.4)
"""Inches of one of the four panels."""


@_axes.plot
def perturb(
    adata: AnnData,
    basis: str | None = None,
    *,
    name: str | None = None,
    palette: _colors.Palette = None,
    legend_loc: str | None = "right margin",
    linewidth: float = 1.0,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """A change of genes: trajectories without it and with it, its effects on fates and mass, and on growth over time.

    Effects are drawn with their intervals, whose meaning `vgfm_sc.tl.perturb` explains; so is the growth rate of the
    population, as the difference that the change makes to it.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.perturb`.
    basis
        Basis to draw on: that of the fit (`None`), or one that `vgfm_sc.tl.project` has laid the trajectories on.
    name
        Which change: the ``key_added`` of `vgfm_sc.tl.perturb`. `None` is the only one there is.
    palette
        Colours of the fates: a colour map, a list or a mapping; `None` takes ``uns["<column>_colors"]`` if there is
        any.
    legend_loc
        Where clusters are named beside the changed trajectories: ``"right margin"``, ``"on data"``, ``"none"`` or a
        place that matplotlib knows.
    linewidth
        Width, in points, of a line of mass 1; width follows the square root of mass.
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
    >>> adata = vgfm_sc.datasets.regulatory_network()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep=None, n_models=3)
    >>> vgfm_sc.tl.perturb(adata, {"driver_a": "knockout"}, "branch")
    >>> vgfm_sc.pl.perturb(adata)
    """
    basis = _axes.basis_of(adata, basis, key)
    x = _axes.coordinates(adata, basis, key)
    stored = _anndata.read_perturbation(adata, key, name)
    column, table, genes = str(stored["cluster_key"]), stored["table"], stored["genes"]
    runs = [
        (_axes.plane(positions, f"Basis {basis!r}"), np.asarray(stored[mass], dtype=float))
        for positions, mass in zip(
            _anndata.read_perturbed_positions(adata, key, name, basis), ("mass", "mass_changed"), strict=True
        )
    ]
    fates = table.loc[table["effect"] == "fate", "fate"].astype(str).tolist()
    colors = _colors.of_categories(adata, column, fates, palette)
    said = ", ".join(
        f"{gene} {before:.2g} to {after:.2g}" for gene, before, after in genes[["names", "before", "after"]].to_numpy()
    )

    given = ax
    fig, axes = _axes.wrapped(ax, 4, PANEL)
    axes[1].sharex(axes[0])  # side by side: one scale
    axes[1].sharey(axes[0])
    for panel, (positions, mass), label, loc in zip(
        axes[:2], runs, ("unchanged", said), ("none", legend_loc), strict=True
    ):
        look = _colors.Look(palette=palette, legend_loc=loc, alpha=0.35)
        _colors.cells(panel, adata, x, column if column in adata.obs else None, key, look)
        lines = lines_of(positions, mass[:-1] / 2 + mass[1:] / 2, linewidth)
        lines.set(color=_colors.ink(), alpha=0.35)
        panel.add_collection(lines)
        panel.autoscale_view()
        _axes.label(panel, basis, label, frameon)
    shown = table[table["effect"] != "energy"]
    names = [*fates, *["mass"] * (len(shown) - len(fates))]
    intervals(axes[2], shown, names, [colors.get(fate, _colors.ink()) for fate in names])
    axes[2].set(title="effects", xlabel="log ratio, changed over unchanged")
    growth = stored["growth"]
    axes[3].fill_between(growth["time"], growth["low"], growth["high"], color=_colors.ink(), alpha=0.2, linewidth=0)
    axes[3].plot(growth["time"], growth["estimate"], color=_colors.ink())
    axes[3].axhline(0, color=_colors.ink(), linewidth=0.8, linestyle=":")
    axes[3].set(title="growth", xlabel=_axes.time_name(adata, key), ylabel="difference of growth rates")
    if not frameon:
        for panel in axes[2:]:
            panel.spines[["top", "right"]].set_visible(False)
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)


def intervals(ax: Axes, table: pd.DataFrame, names: list[str], colors: list[str]) -> None:
    """Estimates with their intervals, the first row on top, each named on the left."""
    where = np.arange(len(table))
    ax.hlines(where, table["low"], table["high"], colors=colors, linewidth=1.5)
    ax.scatter(table["estimate"], where, c=colors, s=20, zorder=3)
    ax.axvline(0, color=_colors.ink(), linewidth=0.8, linestyle=":")
    ax.set_yticks(where, names)
    ax.set_ylim(len(table) - 0.5, -0.5)
