from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

PANEL = (3.2, 2.6)
"""Inches of one of many panels."""

SPREAD = (0.25, 0.75)
"""Quantiles of the mass between which the band lies."""


@_axes.plot
def genes(
    adata: AnnData,
    genes: str | Sequence[str] | None = None,
    *,
    color: str | None = None,
    n_genes: int = 4,
    palette: _colors.Palette = None,
    legend_loc: str | None = "right margin",
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Genes along the trajectories: the mean over the mass at each time, and the middle half of it as a band.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.annotate` with these genes.
    genes
        Names; `None` takes those that rank first in growth (`vgfm_sc.tl.rank_genes`) or, without a ranking, the first
        that the trajectories carry.
    color
        A column of labels carried to the trajectories by `vgfm_sc.tl.annotate`: a line for each label at their end.
    n_genes
        How many, when they are not named.
    palette
        Colours of labels: a colour map, a list or a mapping; `None` takes ``uns["<color>_colors"]`` if there are any.
    legend_loc
        Where labels are named: ``"right margin"``, ``"none"`` or a place that matplotlib knows.
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
    >>> adata = vgfm_sc.datasets.toggle_switch()
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.tl.simulate(adata)
    >>> vgfm_sc.tl.annotate(adata, ["branch", "gene1", "gene2"])
    >>> vgfm_sc.pl.genes(adata, color="branch")
    """
    stored = _anndata.read_trajectories(adata, key)
    carried, values = _anndata.read_values(adata, key)
    wanted = _anndata.top_genes(adata, key, n_genes) if genes is None else genes
    wanted = carried[:n_genes] if wanted is None else _anndata.names(wanted, "genes")
    if not wanted:
        msg = f"No genes to draw: genes={genes!r}, n_genes={n_genes}. The trajectories carry {carried}."
        raise ValueError(msg)
    missing = [name for name in wanted if name not in carried]
    if missing:
        call = f"vgfm_sc.tl.annotate(adata, {missing}{_anndata.named(key)})"
        msg = f"The trajectories do not carry {missing}. Run `{call}` first."
        raise KeyError(msg)
    times, mass = np.asarray(stored["times"], dtype=float), np.asarray(stored["mass"], dtype=float)
    groups: dict[str, tuple[np.ndarray, str]] = {"": (np.ones(mass.shape[1], dtype=bool), "C0")}
    if color is not None:
        codes, names = _anndata.read_labels(adata, key, color)
        colors = _colors.of_categories(adata, color, names, palette)
        groups = {name: (codes[-1] == k, colors[name]) for k, name in enumerate(names) if (codes[-1] == k).any()}

    given = ax
    fig, axes = _axes.wrapped(ax, len(wanted), size=PANEL, sharex=True)
    for panel, name in zip(axes, wanted, strict=True):
        value = values[:, :, carried.index(name)]
        for some, shade in groups.values():
            alive = mass[:, some].any(axis=1)  # cells that divide and die may all be dead
            shown, weights = value[alive][:, some], mass[alive][:, some]
            low, high = (weighted_quantile(shown, weights, q) for q in SPREAD)
            panel.fill_between(times[alive], low, high, color=shade, alpha=0.25, linewidth=0)
            panel.plot(times[alive], np.average(shown, axis=1, weights=weights), color=shade)
        panel.set(title=name, xlabel=_axes.time_name(adata, key))
        panel.label_outer()
        if not frameon:
            panel.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("expression")
    if color is not None:
        named = {name: shade for name, (_, shade) in groups.items()}
        _colors.legend(axes[-1], named, legend_loc if legend_loc != "on data" else "right margin")
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)


def weighted_quantile(values: np.ndarray, weights: np.ndarray, q: float) -> np.ndarray:
    """The value below which the share ``q`` of the weight of each row lies; both of shape ``(n_times, n)``."""
    order = np.argsort(values, axis=1)
    shares = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    at = (shares < q * shares[:, -1:]).sum(axis=1, keepdims=True)
    return np.take_along_axis(np.take_along_axis(values, order, axis=1), at, axis=1)[:, 0]
