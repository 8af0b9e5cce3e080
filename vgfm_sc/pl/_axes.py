"""What all plots share: axes, bases and colours."""

from __future__ import annotations

from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vgfm_sc import _anndata

POINT_AREA = 120_000
"""Points share about this area (points squared), as in scanpy."""

RASTER_CELLS = 5_000
"""From here on cells are drawn as an image inside a vector file."""


def coordinates(adata: AnnData, basis: str) -> np.ndarray:
    """The first two columns of ``obsm["X_<basis>"]`` or ``obsm[basis]``, shape ``(n_obs, 2)``."""
    name = _anndata.basis_key(adata, basis)
    x = _anndata.read_representation(adata, name)
    if x.shape[1] < 2:
        msg = f"obsm[{name!r}] has one dimension; two are drawn."
        raise ValueError(msg)
    return x[:, :2]


def fitted_basis(result: dict[str, Any]) -> str:
    """The basis of the fit itself."""
    return _anndata.basis_name(result["params"]["use_rep"])


def start(ax: Axes | None) -> tuple[Figure, Axes]:
    """The axes given, or a new figure with one."""
    if ax is not None:
        return cast(Figure, ax.figure), ax
    return plt.subplots(figsize=(5.5, 4.5), layout="constrained")


def label(ax: Axes, basis: str, title: str | None, frameon: bool) -> None:
    """Axis names as scanpy gives them, no ticks."""
    ax.set(xticks=[], yticks=[], xlabel=f"{basis}1", ylabel=f"{basis}2", title=title or "")
    if not frameon:
        ax.set_axis_off()
        ax.set_title(title or "")


def finish(
    fig: Figure, ax: Axes, given: Axes | None, show: bool | None, return_fig: bool | None
) -> Axes | Figure | None:
    """Return the figure when asked for, the axes when they were given or not shown; show otherwise."""
    if return_fig:
        if given is None:
            plt.close(fig)  # the caller holds it; pyplot must not keep it open
        return fig
    if show or (show is None and given is None and plt.isinteractive()):
        plt.show()
        return None
    if given is None:
        plt.close(fig)
    return ax


def point_size(n: int) -> float:
    """Area of one of ``n`` points."""
    return float(np.clip(POINT_AREA / max(n, 1), 1.0, 40.0))
