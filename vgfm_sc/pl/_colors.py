"""Colours of cells: categories, numbers and times, with their legend or colour bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, is_color_like, to_hex
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import ScaledTranslation

from vgfm_sc import _anndata
from vgfm_sc.pl import _axes

Palette = str | Sequence[Any] | Mapping[str, Any] | None

NA_COLOR = "lightgray"
"""Of cells without a value, as in scanpy."""

QUALITATIVE = [*colormaps["tab10"].colors, *colormaps["Set2"].colors, *colormaps["tab20b"].colors]  # type: ignore[attr-defined]
"""Enough for most sets of types; more are spread over a circle of hues."""

BELOW = 17.0
"""Points from the axes down to what stands below the name of the axis."""

LEGEND_ROWS = 14
"""Entries of a column of a legend."""


def of_categories(adata: AnnData, column: str, categories: Sequence[str], palette: Palette) -> dict[str, str]:
    """A colour for each category: of ``palette``, else of ``uns["<column>_colors"]``, else our own.

    Some of the categories of ``obs[column]`` get the colours that they have among all of them.
    """
    wanted, names = [str(c) for c in categories], _known(adata, column)
    if not set(wanted) <= set(names):
        names = [*names, *(name for name in wanted if name not in names)]
    chosen = palette if palette is not None else _stored(adata, column, names)
    if isinstance(chosen, Mapping):
        chosen = {str(name): color for name, color in chosen.items()}
        missing = [name for name in wanted if name not in chosen]
        if missing and palette is not None:
            msg = f"palette has no colour for {missing}."
            raise KeyError(msg)
        listed = [chosen.get(name, NA_COLOR) for name in names]
    elif isinstance(chosen, str):
        listed = _spread(chosen, len(names))
    elif chosen is not None and not len(chosen):
        msg = "palette is empty."
        raise ValueError(msg)
    elif chosen is not None:
        listed = [chosen[k % len(chosen)] for k in range(len(names))]
    elif len(names) <= len(QUALITATIVE):
        listed = QUALITATIVE[: len(names)]
    else:
        listed = _spread("hsv", len(names))
    wrong = [color for color in listed if not is_color_like(color)]
    if wrong:
        msg = f"palette holds what is no colour: {wrong}."
        raise ValueError(msg)
    colors = {name: to_hex(color, keep_alpha=True) for name, color in zip(names, listed, strict=True)}
    return {name: colors[name] for name in wanted}


def _known(adata: AnnData, column: str) -> list[str]:
    """Categories of ``obs[column]`` that have cells."""
    if column not in adata.obs:
        return []
    values = _anndata.read_column(adata, column)
    return [str(c) for c in values.categories] if isinstance(values, pd.Categorical) else []


def _stored(adata: AnnData, column: str, names: list[str]) -> Mapping[str, Any] | None:
    """``uns["<column>_colors"]`` in whatever form it has, if it fits: one for each category that the column knows."""
    stored = adata.uns.get(f"{column}_colors")
    if isinstance(stored, Mapping):
        return stored if all(is_color_like(c) for c in stored.values()) else None
    if stored is None or isinstance(stored, str):
        return None
    listed = [str(c) if isinstance(c, str) else c for c in stored]
    known = names
    if column in adata.obs and isinstance(adata.obs[column].dtype, pd.CategoricalDtype):
        known = [str(c) for c in adata.obs[column].cat.categories]
    if len(listed) < len(known) or not all(is_color_like(c) for c in listed):
        return None
    return dict(zip(known, listed, strict=False))


def _spread(cmap: str, n: int) -> list[Any]:
    """``n`` colours of a colour map: its own if it is a list, else evenly spaced."""
    if cmap not in colormaps:
        msg = f"palette={cmap!r} is not a colour map of matplotlib. Give one, a list of colours or a mapping."
        raise ValueError(msg)
    table = colormaps[cmap]
    own = getattr(table, "colors", None)
    if own is not None and n <= len(own) < 100:
        return list(own[:n])
    return [table(k / n) for k in range(n)]


class Look(NamedTuple):
    """How cells are drawn: as the arguments of the plots of the same names say."""

    layer: str | None = None
    cmap: str = "viridis"
    palette: Palette = None
    na_color: str = NA_COLOR
    legend_loc: str | None = "right margin"
    size: float | None = None
    alpha: float = 1.0
    bar: bool = True


def cells(ax: Axes, adata: AnnData, x: np.ndarray, color: str | None, key: str, look: Look) -> None:
    """Draw the cells at ``x``, shape ``(n_obs, 2)``, coloured by a column, a gene, or (`None`) not at all."""
    area = _axes.point_size(len(x)) if look.size is None else look.size
    shared: dict[str, Any] = {
        "s": area,
        "linewidths": 0,
        "rasterized": len(x) > _axes.RASTER_CELLS,
        "zorder": 1,
        "alpha": look.alpha,
    }
    if color is None:
        ax.scatter(x[:, 0], x[:, 1], color=look.na_color, **shared)
        return
    values = values_of(adata, color, key, look.layer)
    known = ~pd.isna(values) if isinstance(values, pd.Categorical) else np.isfinite(values)
    if not known.all():
        ax.scatter(x[~known, 0], x[~known, 1], color=look.na_color, **shared)
    if isinstance(values, pd.Categorical):
        colors = of_categories(adata, color, list(values.categories), look.palette)
        listed = np.asarray(list(colors.values()))
        ax.scatter(x[known, 0], x[known, 1], c=listed[values.codes[known]], **shared)
        legend(ax, colors, look.legend_loc, x[known], values.codes[known])
        return
    order = np.argsort(values[known], kind="stable")  # high values on top, as in scanpy
    sorted_x = x[known][order]
    drawn = ax.scatter(sorted_x[:, 0], sorted_x[:, 1], c=values[known][order], cmap=look.cmap, **shared)
    if look.bar:
        name = _axes.time_name(adata, key) if _is_time(adata, color, key) else color
        solid = ax.figure.colorbar(drawn, ax=ax, label=name)
        solid.solids.set_alpha(1)  # type: ignore[union-attr]


def check_color(color: Any) -> None:
    """Refuse several at once: they are for several plots."""
    if not isinstance(color, str):
        msg = f"color must be one name, got {color!r}. Draw one plot for each, say into the axes of one figure (ax=)."
        raise TypeError(msg)


def values_of(adata: AnnData, color: str, key: str, layer: str | None = None) -> pd.Categorical | np.ndarray:
    """What ``color`` names; the sampling times are always numbers, whatever type their column has."""
    check_color(color)
    if _is_time(adata, color, key):
        return _anndata.fitted_sampling(adata, key)[1].time
    return _anndata.read_column(adata, color, layer)


def _is_time(adata: AnnData, color: str, key: str) -> bool:
    return color == _axes.time_name(adata, key) or (color == "time" and "time" not in adata.obs)


def legend(
    ax: Axes,
    colors: Mapping[str, str],
    loc: str | None,
    x: np.ndarray | None = None,
    codes: np.ndarray | None = None,
) -> None:
    """Names of the categories: beside the axes, within, on the cells (``x`` and ``codes``), or none."""
    if loc is None or loc == "none":
        return
    if loc == "on data":
        if x is None or codes is None:
            msg = "legend_loc='on data' needs cells; use 'right margin', 'none' or a place that matplotlib knows."
            raise ValueError(msg)
        outline = [withStroke(linewidth=2.5, foreground=ax.get_facecolor())]
        for k, name in enumerate(colors):
            if (codes == k).any():
                across, up = np.median(x[codes == k], axis=0)
                ax.text(across, up, name, ha="center", va="center", weight="bold", path_effects=outline, zorder=6)
        return
    dots = [
        Line2D([], [], marker="o", linestyle="", markersize=6, color=color, label=name)
        for name, color in colors.items()
    ]
    place(ax, dots, loc)


def place(ax: Axes, handles: Sequence[Any], loc: str) -> None:
    """A legend without a frame, ``"right margin"`` outside; what the axes' legend has named before stays named."""
    before = ax.get_legend()
    named = {} if before is None else {handle.get_label(): handle for handle in before.legend_handles if handle}
    named |= {handle.get_label(): handle for handle in handles}
    options: dict[str, Any] = {"frameon": False, "ncols": -(-len(named) // LEGEND_ROWS)}
    if loc == "right margin":
        options |= {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    else:
        options["loc"] = loc
    ax.legend(handles=list(named.values()), **options)


def below(ax: Axes, handles: Sequence[Any]) -> None:
    """A small legend below the axes to the right, where no cell is; another may stand beside it."""
    look: dict[str, Any] = {
        "frameon": False,
        "fontsize": "small",
        "handletextpad": 0.1,
        "columnspacing": 0.8,
        "borderaxespad": 0,
    }
    down = ax.transAxes + ScaledTranslation(0, -BELOW / 72, ax.figure.dpi_scale_trans)  # points to inches
    names = [handle.get_label() for handle in handles]
    where: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1.0, 0.0), "bbox_transform": down}
    made = Legend(ax, list(handles), names, ncols=len(names), **where, **look)
    ax.add_artist(made)
    made.set_clip_on(False)  # else layouts leave no room for it


def ink() -> str:
    """The colour of text: black on white paper, white on black."""
    return str(rcParams["text.color"])


def time_norm(adata: AnnData, key: str) -> Normalize:
    """From the first to the last time point."""
    points = np.asarray(_anndata.read_result(adata, key)["time_points"], dtype=float)
    return Normalize(points[0], points[-1])
