from __future__ import annotations

from typing import Literal, get_args

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes, _colors
from vgfm_sc.pl._perturb import intervals

Effect = Literal["fate", "mass", "energy"]

LABELS = {
    "fate": "log ratio of shares",
    "mass": "difference of log mass",
    "energy": "energy distance",
}

LEVEL = 0.05
"""Adjusted p-value above which a gene is grey."""

ROW, WIDTH, AROUND = 0.18, 3.4, 0.9
"""Inches of a gene, of a panel, and of what stands above and below the genes."""


@_axes.plot
def screen(
    adata: AnnData,
    effect: Effect | None = None,
    *,
    n_genes: int = 20,
    palette: _colors.Palette = None,
    na_color: str = "lightgray",
    title: str | None = None,
    frameon: bool = True,
    key: str = "vgfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool | None = None,
) -> Axes | list[Axes] | Figure | None:
    """Genes of a screen ranked by the size of their effect, with its interval: a panel for each fate, and for mass.

    Parameters
    ----------
    adata
        Annotated data after `vgfm_sc.tl.screen`.
    effect
        ``"fate"``, ``"mass"`` or ``"energy"``; `None` draws fates and mass.
    n_genes
        How many genes in each panel.
    palette
        Colours of the fates: a colour map, a list or a mapping; `None` takes ``uns["<column>_colors"]`` if there is
        any.
    na_color
        Colour of genes whose adjusted p-value is above 0.05.
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
    >>> vgfm_sc.tl.screen(adata, ["driver_a", "driver_b", "cycle"], "branch")
    >>> vgfm_sc.pl.screen(adata)
    """
    if effect is not None and effect not in get_args(Effect):
        msg = f"effect must be one of {list(get_args(Effect))}, got {effect!r}."
        raise ValueError(msg)
    if n_genes < 1:
        msg = f"No genes to draw: n_genes={n_genes}."
        raise ValueError(msg)
    stored = _anndata.read_screen(adata, key)
    table = stored["table"].astype({"effect": str, "fate": str})
    table = table[table["effect"] != "energy"] if effect is None else table[table["effect"] == effect]
    fates = list(dict.fromkeys(table.loc[table["effect"] == "fate", "fate"]))
    colors = _colors.of_categories(adata, str(stored["cluster_key"]), fates, palette)

    given, parts = ax, list(table.groupby(["effect", "fate"], sort=False))
    height = AROUND + ROW * min(n_genes, max(len(part) for _, part in parts))
    fig, axes = _axes.wrapped(ax, len(parts), (WIDTH, height))
    for panel, ((kind, fate), part) in zip(axes, parts, strict=True):
        head = part.head(n_genes)
        color = colors.get(fate, _colors.ink())
        shades = [color if p <= LEVEL else na_color for p in head["pvals_adj"]]
        intervals(panel, head, head["names"].astype(str).tolist(), shades)
        panel.set(title=fate or kind, xlabel=LABELS[kind])
        if not frameon:
            panel.spines[["top", "right"]].set_visible(False)
    _axes.head(fig, given, title)
    return _axes.finish(fig, axes, given, show, return_fig)
