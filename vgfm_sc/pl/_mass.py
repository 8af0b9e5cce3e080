from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

BAR = 0.03
"""Width of a bar of observed cells, as a share of the time course."""


@_axes.plot
def mass(
    adata: AnnData,
    color: str | None = None,
    *,
    palette: _colors.Palette = None,
    legend_loc: str | None = "right margin",
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Total mass over time: predicted as a line, observed as points at the snapshots; or both by type.

    The prediction is the mean mass that cells of the time point at the start have come to, times the observed mass
    there. Its shares of the types are those of the trajectories.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.simulate`.
    color
        A column of labels carried to the trajectories by `vgfm_sc.tl.annotate`: areas on top of each other are the
        predicted mass of each label, narrow bars the observed; cells without a label count as those with one.
        `None` draws totals.
    palette
        Colours of labels: a colour map, a list or a mapping; `None` takes ``uns["<color>_colors"]`` if there are any.
    legend_loc
        Where labels are named: ``"right margin"``, ``"none"`` or a place that matplotlib knows.
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
    >>> vgfm_sc.tl.annotate(adata, "branch")
    >>> vgfm_sc.pl.mass(adata, "branch")
    """
    stored, snapshots = _anndata.read_trajectories(adata, key), _anndata.simulated_sampling(adata, key)
    times, masses = np.asarray(stored["times"], dtype=float), np.asarray(stored["mass"], dtype=float)
    observed, points = snapshots.totals, snapshots.time_points
    at = int(np.abs(points - times[0]).argmin())
    if not len(snapshots.rows[at]):
        msg = f"The trajectories start at {points[at]:g}, of which no cells are left: their mass is not known."
        raise ValueError(msg)
    predicted = float(stored["share"]) * observed[at] * np.asarray(stored["mean_mass"], dtype=float)
    whole = float(stored["share"]) == 1  # what became of some cells cannot be told apart in later snapshots
    here = np.asarray([len(rows) > 0 for rows in snapshots.rows])
    seen = here & (points >= times.min()) & (points <= times.max()) & whole
    if color is not None:
        codes, names = _anndata.read_labels(adata, key, color)
        column = _anndata.read_categories(adata, color)
        colors = _colors.of_categories(adata, color, names, palette)

    fig, ax = _axes.start(given := ax)
    if color is None:
        ax.plot(times, predicted, color="C0", label="predicted")
        if seen.any():
            ax.plot(points[seen], observed[seen], "o", color=_colors.ink(), label="observed", zorder=3)
        ax.legend(loc="best", frameon=False)
    else:
        order = np.argsort(times)
        of_type = np.stack([(masses * (codes == k)).sum(axis=1) for k in range(len(names))])
        areas = predicted * of_type / np.maximum(of_type.sum(axis=0), np.finfo(float).tiny)  # all may have died
        ax.stackplot(times[order], areas[:, order], colors=list(colors.values()), alpha=0.6)
        width = BAR * float(np.ptp(points))
        for k in np.flatnonzero(seen):
            rows, time, amount = snapshots.rows[k], points[k], observed[k]
            counts = np.bincount(column.codes[rows] + 1, minlength=len(column.categories) + 1)[1:]
            shares = counts / max(1, counts.sum())  # as in the areas, of those with a label
            heights = dict(zip(map(str, column.categories), amount * shares, strict=True))
            low = 0.0
            for name, shade in colors.items():
                height = heights.get(name, 0.0)
                ax.bar(time, height, width, bottom=low, color=shade, edgecolor=_colors.ink(), linewidth=0.5, zorder=3)
                low += height
        _colors.legend(ax, colors, legend_loc if legend_loc != "on data" else "right margin")
    ax.set(xlabel=_axes.time_name(adata, key), ylabel="mass (cells)", ylim=(0, None), title=title or "")
    if not frameon:
        ax.spines[["top", "right"]].set_visible(False)
    return _axes.finish(fig, ax, given, show, return_fig)
