"""What all plots share: axes and panels, bases, and how a plot ends."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.backends import BackendFilter, backend_registry
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from vgfm_sc import _anndata

POINT_AREA = 40_000
"""Points share about this area (points squared) of a panel, so that they do not hide each other."""

RASTER_CELLS = 5_000
"""From here on cells are drawn as an image inside a vector file."""

PANEL = (4.6, 4.0)
"""Inches of a panel."""

ONE_OF_MANY = (3.6, 3.1)
"""Inches of one of several panels in rows."""

MOST_IN_A_ROW = 3
"""Panels beside each other: more are too small to read on a page."""

BETWEEN = 0.12
"""Inches around panels, so that what one is labelled with does not touch the next."""

NAMES = {"diffmap": "DC", "pca": "PC", "tsne": "tSNE", "umap": "UMAP"}
"""How scanpy names the axes of these bases."""

ABOVE = 20.0
"""Points from the title of axes to that of the panels in them."""

P = ParamSpec("P")
R = TypeVar("R")


def plot(draw: Callable[P, R]) -> Callable[P, R]:
    """A plot that fails leaves no figure of its own open."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        before = plt.get_fignums()
        try:
            return draw(*args, **kwargs)
        except BaseException:
            for number in set(plt.get_fignums()).difference(before):
                plt.close(number)
            raise

    return drawn


def coordinates(adata: AnnData, basis: str, key: str) -> np.ndarray:
    """The first two coordinates of the cells on ``basis``, shape ``(n_obs, 2)``."""
    return plane(_anndata.read_coordinates(adata, key, basis), f"Basis {basis!r}")


def plane(x: np.ndarray, name: str) -> np.ndarray:
    """The first two coordinates."""
    if x.shape[-1] < 2:
        msg = f"{name} has one dimension; two are drawn."
        raise ValueError(msg)
    return x[..., :2]


def basis_of(adata: AnnData, basis: str | None, key: str) -> str:
    """``basis``, or that of the fit."""
    fitted = _anndata.fitted_basis(adata, key)
    return fitted if basis is None else _anndata.basis_name(basis)


def time_name(adata: AnnData, key: str) -> str:
    """The user's name for time."""
    return str(_anndata.read_result(adata, key)["params"]["time_key"])


def check_axes(ax: Axes | None) -> None:
    """Refuse a figure, or the array that `plt.subplots` makes of several axes."""
    if ax is not None and not isinstance(ax, Axes):
        msg = f"ax must be one matplotlib Axes, got {type(ax).__name__}; several panels share the place of one."
        raise TypeError(msg)


def start(ax: Axes | None, size: tuple[float, float] = PANEL) -> tuple[Figure, Axes]:
    """The axes given, or a new figure with one."""
    check_axes(ax)
    if ax is not None:
        return cast(Figure, ax.figure), ax
    return plt.subplots(figsize=size, layout="constrained")


def panels(
    ax: Axes | None, n_rows: int, n_columns: int, size: tuple[float, float] = PANEL, **options: Any
) -> tuple[Figure, np.ndarray]:
    """Panels of a figure of their own, or in place of the axes given; shape ``(n_rows, n_columns)``."""
    check_axes(ax)
    if ax is None:
        whole = (size[0] * n_columns, size[1] * n_rows)
        fig, axes = plt.subplots(n_rows, n_columns, figsize=whole, layout="constrained", squeeze=False, **options)
        cast(ConstrainedLayoutEngine, fig.get_layout_engine()).set(w_pad=BETWEEN)
        return fig, axes
    fig = cast(Figure, ax.figure)
    where = ax.get_subplotspec()
    if where is None:
        msg = "Several panels need axes of a grid, as `plt.subplots` makes them."
        raise ValueError(msg)
    ax.set_axis_off()
    return fig, where.subgridspec(n_rows, n_columns).subplots(squeeze=False, **options)


def wrapped(
    ax: Axes | None, n: int, size: tuple[float, float] = ONE_OF_MANY, **options: Any
) -> tuple[Figure, list[Axes]]:
    """``n`` panels in rows of about as many each."""
    n_rows = -(-n // MOST_IN_A_ROW)
    fig, axes = panels(ax, n_rows, -(-n // n_rows), size, **options)
    for spare in axes.ravel()[n:]:
        spare.set_axis_off()
    return fig, list(axes.ravel()[:n])


def head(fig: Figure, given: Axes | None, title: str | None) -> None:
    """A title above all panels: of their figure, or of the axes whose place they take."""
    if title and given is not None:
        given.set_title(title, pad=ABOVE)
    elif title:
        fig.suptitle(title)


def label(ax: Axes, basis: str, title: str | None, frameon: bool) -> None:
    """Axis names as scanpy gives them, no ticks."""
    name = NAMES.get(basis, basis)
    ax.set(xticks=[], yticks=[], xlabel=f"{name}1", ylabel=f"{name}2", title=title or "")
    if not frameon:
        ax.set_axis_off()
        ax.set_title(title or "")


def finish(
    fig: Figure, drawn: Axes | Sequence[Axes], given: Axes | None, show: bool | None, return_fig: bool | None
) -> Axes | list[Axes] | Figure | None:
    """Return the figure when asked for, else show it or return the axes; as plots of scanpy do.

    A figure that is neither shown nor returned stays open, so that ``plt.savefig`` finds it.
    """
    if return_fig:
        if given is None:
            plt.close(fig)  # the caller holds it; a notebook would show it as the result of the cell and once more
        return fig
    if show is None:
        show = given is None and autoshow()  # axes given are drawn into bit by bit, and shown when they are full
    if not show:
        return drawn if isinstance(drawn, Axes) else list(drawn)
    if can_show():
        plt.show()
    return None


def autoshow() -> bool:
    """Whether to show figures unless told otherwise: yes, or as scanpy is set where it is in use."""
    scanpy = sys.modules.get("scanpy")  # importing it takes seconds
    return scanpy is None or bool(scanpy.settings.autoshow)


def can_show() -> bool:
    """Whether there is a window or a notebook to show figures in; without one, ``plt.show`` may warn of just that."""
    return plt.get_backend().lower() not in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)


def point_size(n: int) -> float:
    """Area of one of ``n`` points."""
    return float(np.clip(POINT_AREA / max(n, 1), 1.0, 25.0))
