from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors

PANEL = (3.3, 2.8)
"""Inches of a panel."""


@_axes.plot
def loss(
    adata: AnnData,
    *,
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Losses of the matching stage by step and, where it ran, of the fitting stage, beside the score that judges it.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.fit`.
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
    >>> vgfm_sc.pl.loss(adata)
    """
    history = _anndata.read_result(adata, key)["history"]
    if not history:
        msg = f"The fit under {key!r} has no history: both of its stages were left out."
        raise ValueError(msg)
    matching, fitting = history.get("matching"), history.get("fitting")
    if matching is not None and fitting is not None and not len(fitting["loss"]):
        fitting = None  # no step was taken: nothing was left to be fitted

    given = ax
    fig, axes = _axes.wrapped(ax, (matching is not None) + 2 * (fitting is not None), size=PANEL)
    rest = list(axes)
    if matching is not None:
        panel = rest.pop(0)
        for name in ("velocity", "growth"):
            values = np.asarray(matching[name], dtype=float)
            if (values > 0).any():
                panel.plot(np.arange(1, len(values) + 1), values, linewidth=0.8, label=name)
        panel.set(title="matching", xlabel="step", ylabel="loss", yscale="log")
        panel.legend(frameon=False)
    if fitting is not None:
        values = np.asarray(fitting["loss"], dtype=float)
        rest[0].plot(np.arange(1, len(values) + 1), values, linewidth=0.8, color="C2")
        rest[0].set(title="fitting", xlabel="step", ylabel="distance + mass error (unitless)")
        steps, score = (np.asarray(fitting[name], dtype=float) for name in ("check_step", "score"))
        rest[1].plot(steps, score, "o-", markersize=4, color="C3")
        rest[1].axhline(score[0], color=_colors.ink(), linewidth=0.8, linestyle=":")
        worse = bool(score[-1] > score[0])  # the name stands where the curve goes: the other side may be outside
        rest[1].annotate(
            "after matching",
            (1, score[0]),
            (-2, 3 if worse else -3),
            ("axes fraction", "data"),
            "offset points",
            ha="right",
            va="bottom" if worse else "top",
        )
        rest[1].set(title="judgement", xlabel="step", ylabel="distance / spread of the data")
    for panel in axes:
        if not frameon:
            panel.spines[["top", "right"]].set_visible(False)
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)
