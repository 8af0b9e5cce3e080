from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

Score = Literal["energy", "spread", "w1"]

LABELS = {
    "energy": "energy distance to the cells left out",
    "spread": "spread: total variance over observed",
    "w1": "W1 to the cells left out",
}

SIZE = (5.0, 3.6)
"""Inches of the figure."""


@_axes.plot
def holdout(
    adata: AnnData,
    *,
    score: Score | None = None,
    palette: _colors.Palette = None,
    legend_loc: str | None = "right margin",
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """How near each prediction comes to the cells of the time points left out.

    The lower the energy distance, the better; it may be below 0. A spread of 1, where the dotted line is, is best.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.holdout` or `vgfm_sc.tl.choose`.
    score
        The column to draw: ``"energy"``, ``"spread"`` or ``"w1"``. `None` draws the energy distance, and W1 for scores
        of an earlier version, which have no energy distance.
    palette
        Colours of the predictions: a colour map, a list or a mapping.
    legend_loc
        Where they are named: ``"right margin"``, ``"none"`` or a place that matplotlib knows.
    title
        Above the axes. `None` names the candidate that `vgfm_sc.tl.choose` chose, where the scores are its.
    frameon
        Draw the frame on all sides.
    key
        The ``key_added`` of `vgfm_sc.tl.holdout`, or of `vgfm_sc.tl.choose`: ``"choice"`` by default there.
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
    >>> vgfm_sc.tl.holdout(adata, "time", use_rep="X_genes")
    >>> vgfm_sc.pl.holdout(adata)
    """
    table = _anndata.read_holdout(adata, key)
    score, best = chosen(table, score, key), _anndata.read_choice(adata, key)
    where_of = [f"{time:g}" for time in table["time"]]
    if "condition" in table:
        where_of = [f"{time}\n{condition}" for time, condition in zip(where_of, table["condition"], strict=True)]
    table = table.assign(place=where_of)
    places, names = list(dict.fromkeys(where_of)), list(dict.fromkeys(table["prediction"]))
    colors = _colors.of_categories(adata, "prediction", names, palette)

    fig, ax = _axes.start(given := ax, SIZE)
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        values = table[table["prediction"] == name].set_index("place")[score].reindex(places)
        where = np.arange(len(places)) + (k - (len(names) - 1) / 2) * width
        ax.bar(where, values, 0.9 * width, color=colors[name])
    if score == "spread":
        ax.axhline(1, color=_colors.ink(), linewidth=0.8, linestyle=":")
    elif (table[score] < 0).any():
        ax.axhline(0, color=_colors.ink(), linewidth=0.8)
    ax.set_xticks(np.arange(len(places)), places)
    if title is None and best is not None:
        title = f"chosen: {best}"
    ax.set(xlabel="time left out", ylabel=LABELS[score], title=title or "")
    if not frameon:
        ax.spines[["top", "right"]].set_visible(False)
    _colors.legend(ax, colors, legend_loc if legend_loc != "on data" else "right margin")
    return _axes.finish(fig, ax, given, show, return_fig)


def chosen(table: pd.DataFrame, score: Score | None, key: str) -> Score:
    """The column to draw."""
    if score is None:
        return "energy" if "energy" in table else "w1"
    if score not in LABELS:
        msg = f"score must be one of {list(get_args(Score))}, got {score!r}."
        raise ValueError(msg)
    if score not in table:
        known = [name for name in LABELS if name in table]
        msg = (
            f"The scores in adata.uns['{key}_holdout'] lack {score!r}, as those of an earlier version do; they have "
            f"{known}. Draw one of these with score=..., or run `vgfm_sc.tl.holdout(adata, time_key=...)` again."
        )
        raise KeyError(msg)
    return score
