from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

SHUFFLED: dict[str, Any] = {"color": _colors.NA_COLOR, "label": "shuffled clones"}
"""How all that is shuffled looks."""

MOST = 60.0
"""Area of the dot of the largest clone, in points squared; that of the smallest is a tenth."""


@_axes.plot
def clones(
    adata: AnnData,
    *,
    palette: _colors.Palette = None,
    legend_loc: str | None = "best",
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """How well descendants, fates and growth agree with clones, beside shuffled clones in grey.

    One panel for each: the AUROC of descent over each interval; the calibration of fates, observed against predicted
    in tenths, with the number of cells in each tenth as bars behind; the fates of each clone; and the growth of each
    clone. Dots are larger for clones with more cells. What is perfect lies on the dotted line. The panels of fates are
    left out where `vgfm_sc.tl.fate` had not been run.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.compare_clones`.
    palette
        Colours of the fates: a colour map, a list or a mapping; `None` takes ``uns["<column>_colors"]`` if there is
        any.
    legend_loc
        Where fates are named in their panels: ``"right margin"``, ``"none"`` or a place that matplotlib knows.
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
    >>> adata = vgfm_sc.datasets.branching(n_clones=50)
    >>> vgfm_sc.tl.fit(adata, "time", use_rep="X_state")
    >>> vgfm_sc.tl.fate(adata, "cell_type")
    >>> vgfm_sc.tl.compare_clones(adata, "true_clone")
    >>> vgfm_sc.pl.clones(adata)
    """
    stored = _anndata.read_clone_scores(adata, key)
    fates, growth = stored.get("fates"), stored.get("growth")
    table = stored["table"]
    descent = table[(table["of"] == "descendants") & (table["score"] == "auroc")]
    if fates is None and growth is None and not len(descent):
        msg = f"adata.uns[{key!r}]['clones'] has no scores: no clone was seen at two neighbouring time points."
        raise ValueError(msg)

    given, n = ax, bool(len(descent)) + 2 * (fates is not None) + (growth is not None)
    fig, axes = _axes.wrapped(ax, n, _axes.PANEL)
    rest = iter(axes)
    if len(descent):
        _descendants(next(rest), descent)
    if fates is not None:
        column = str(_anndata.read_result(adata, key).get("fate", {}).get("cluster_key", ""))
        names = list(dict.fromkeys(map(str, fates["cluster"])))
        colors = _colors.of_categories(adata, column, names, palette)
        _calibration(next(rest), stored["calibration"], colors, legend_loc)
        _fates(next(rest), fates, colors)
    if growth is not None:
        _growth(next(rest), growth)
    if not frameon:
        for panel in axes:
            panel.spines[["top", "right"]].set_visible(False)
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)


def _descendants(ax: Axes, descent: pd.DataFrame) -> None:
    where = np.arange(len(descent))
    ax.bar(where - 0.2, descent["value"], 0.36, color="C0", label="clones")
    ax.bar(where + 0.2, descent["shuffled"], 0.36, yerr=descent["shuffled_sd"], ecolor=_colors.ink(), **SHUFFLED)
    ax.axhline(0.5, color=_colors.ink(), linewidth=0.8, linestyle=":")
    names = [f"{t:g} to {to:g}" for t, to in zip(descent["time"], descent["to"], strict=True)]
    ax.set_xticks(where, names)
    ax.set(title="descendants", xlabel="interval", ylabel="AUROC, same clone or not", ylim=(0, 1.2))
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.legend(frameon=False, loc="upper left", ncols=2)


def _calibration(ax: Axes, bins: pd.DataFrame, colors: dict[str, str], legend_loc: str | None) -> None:
    counts = ax.twinx()
    counts.spines["top"].set_visible(False)  # that of the axes in front is enough
    ax.set_zorder(counts.get_zorder() + 1)
    ax.patch.set_visible(False)
    width = 0.08 / len(colors)
    for k, (name, color) in enumerate(colors.items()):
        part = bins[bins["cluster"].astype(str) == name]
        left = part["tenth"] / 10 + 0.01 + k * width
        counts.bar(left, part["n_cells"], width, align="edge", color=color, alpha=0.25, linewidth=0)
        ax.plot(part["predicted"], part["shuffled"], ".--", color=_colors.NA_COLOR, linewidth=1)
        ax.plot(part["predicted"], part["observed"], "o-", color=color, markersize=4)
    counts.set(ylabel="cells", ylim=(0, 3 * max(1, int(bins["n_cells"].max()))))
    _diagonal(ax)
    ax.set(title="calibration of fates", xlabel="predicted probability", ylabel="observed share of the clone")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _colors.legend(ax, colors, legend_loc if legend_loc != "on data" else "best")


def _fates(ax: Axes, fates: pd.DataFrame, colors: dict[str, str]) -> None:
    area = _area(fates["n_cells"])
    ax.scatter(fates["shuffled"], fates["observed"], area, linewidths=0, **SHUFFLED)
    listed = [colors[str(name)] for name in fates["cluster"]]
    ax.scatter(fates["predicted"], fates["observed"], area, c=listed, alpha=0.7, linewidths=0)
    _diagonal(ax)
    ax.set(title="fates of clones", xlabel="mean predicted probability", ylabel="observed share of the clone")
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))


def _growth(ax: Axes, growth: pd.DataFrame) -> None:
    area = _area(growth["n_cells"] + growth["n_cells_later"])
    ax.scatter(growth["shuffled"], growth["observed"], area, linewidths=0, **SHUFFLED)
    for k, (ends, part) in enumerate(growth.groupby(["time", "to"])):
        name = "{:g} to {:g}".format(*ends)
        ax.scatter(part["predicted"], part["observed"], area[part.index], f"C{k}", alpha=0.7, linewidths=0, label=name)
    _diagonal(ax)
    ax.set(title="growth of clones", xlabel="predicted log ratio of mass", ylabel="observed log ratio of size")
    ax.legend(frameon=False, loc="best", markerscale=1)


def _area(n_cells: pd.Series) -> np.ndarray:
    """Of dots, in points squared."""
    return MOST * np.maximum(np.asarray(n_cells, dtype=float) / max(1, n_cells.max()), 0.1)


def _diagonal(ax: Axes) -> None:
    """Where predicted and observed are the same."""
    ax.axline((0, 0), slope=1, color=_colors.ink(), linewidth=0.8, linestyle=":")
