"""Checks of the numbers and names that `fit` takes, before any work is done."""

from __future__ import annotations

import sys
import warnings

import numpy as np
from anndata import AnnData

from vgfm_sc import _anndata, _checks, methods
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.tl import _entries

SMALLEST = 1e-35
"""Size of results below which, or above whose inverse, they come close to the range of float32, 1e-38 to 3e38."""

MOST_HELD_OUT = 0.5
"""Share of the cells beyond which there is more to judge on than to learn from."""


MOST_WANDER = 1.0
"""Unitless standard deviation of Brownian motion over an interval beyond which it is wider than the data: what bridges
then tell of who became whom is next to nothing."""


ALIKE = ("otcfm", "otmfm")
"""Names of the methods in which all cells grow alike."""


def check_method(method: str | methods.Method) -> methods.Method:
    """The method meant by a name, or the user's own."""
    if isinstance(method, methods.Method):
        return method
    named = {"vgfm": methods.vgfm, "otcfm": methods.otcfm, "wfr": methods.wfr, "manifold": methods.manifold}
    if not isinstance(method, str) or method not in named:
        msg = f"Unknown method {method!r}. Available: {list(named)}, or a `vgfm_sc.methods.Method` of your own."
        raise ValueError(msg)
    return named[method]()


def check_takes_prior(method: methods.Method) -> None:
    """Refuse a method in which no cell may differ in growth."""
    if method.name in ALIKE:
        msg = (
            f"method={method.name!r} makes all cells grow alike and has no use for growth_prior. Use method='vgfm'; "
            "with a large rho it follows the prior closely: method=vgfm_sc.methods.vgfm(rho=100)."
        )
        raise ValueError(msg)


def read_prior(
    adata: AnnData, growth_prior: str | None, snapshots: _anndata.Snapshots, method: methods.Method
) -> np.ndarray | None:
    """The growth expected of each cell, if it is given and ``method`` takes it."""
    if growth_prior is None:
        return None
    check_takes_prior(method)
    return _anndata.read_prior(
        adata, growth_prior, snapshots.time, snapshots.time_points, both_ends=method.shared_growth
    )


def read_clones(
    adata: AnnData, clone_key: str | None, snapshots: _anndata.Snapshots, method: methods.Method
) -> np.ndarray | None:
    """The clone of each cell, if barcodes are given and ``method`` takes them; what they are is logged."""
    if clone_key is None:
        return None
    check_takes_clones(method)
    clones = _anndata.read_clones(adata, clone_key, snapshots.rows)
    _entries.tell_of_clones(clones, snapshots.rows, clone_key)
    return clones


def check_takes_clones(method: methods.Method) -> None:
    """Refuse a method whose coupling has no use for lineage barcodes."""
    if not method.takes_clones:
        msg = (
            f"The coupling of method {method.name!r} does not take clones. Use vgfm, otcfm or bridge of "
            "vgfm_sc.methods, or give your coupling the keyword clones, a pair of arrays with the clone of each cell, "
            "and set takes_clones=True."
        )
        raise ValueError(msg)


def warn_of_space(representation: _anndata.Representation, x: np.ndarray) -> None:
    """Warn of positions between which distances mean little: counts, and embeddings made for the eye."""
    where, name = representation.where, representation.name.lower()
    if representation.use_rep is None and (x >= 0).all() and (x == np.round(x)).all():
        msg = (
            f"{where} holds whole numbers, as counts are, so distances mostly reflect library size. Normalise and "
            "log-transform first (`sc.pp.normalize_total`, `sc.pp.log1p`)."
        )
    elif any(embedding in name for embedding in ("umap", "tsne")):
        msg = (
            f"{where} is made to be looked at: its distances mean little, and so would velocity and growth. Fit "
            "'X_pca' or a latent space, then project the result onto the embedding with `vgfm_sc.tl.project`."
        )
    else:
        return
    warnings.warn(msg, UserWarning, stacklevel=3)


def check_units(scaling: Scaling, time_points: np.ndarray) -> None:
    """Refuse units in which single precision does not hold the results."""
    with np.errstate(all="ignore"):
        rate = 1 / scaling.time_unit_at(time_points).min()
        sizes = {"Velocities": scaling.length * rate, "Growth rates": rate}
    for name, size in sizes.items():
        if not SMALLEST < size < 1 / SMALLEST:
            msg = (
                f"{name} would be of size {size:.0e}, which single precision cannot represent. Choose other units for "
                "the times or the representation."
            )
            raise ValueError(msg)


def check_sigma(method: methods.Method, scaling: Scaling, time_points: np.ndarray) -> None:
    """Refuse Brownian motion that over an interval takes cells further than the data reach."""
    if method.sigma is None:
        return
    wander = scaling.wander(method.sigma, time_points)
    k = int(wander.argmax())
    if not wander[k] <= MOST_WANDER:
        most = method.sigma * MOST_WANDER / wander[k]
        msg = (
            f"With sigma={method.sigma:g} Brownian motion from {time_points[k]:g} to {time_points[k + 1]:g} has a "
            f"standard deviation of {wander[k] * scaling.length:.3g} per axis, more than the data have "
            f"({scaling.length:.3g}). Take a sigma well below {most:.3g}."
        )
        raise ValueError(msg)


def shown(progress: bool | None) -> bool:
    """Whether to show progress bars: as asked for, or as quiet as scanpy is where it is in use."""
    if progress is not None:
        return progress
    scanpy = sys.modules.get("scanpy")  # importing it takes seconds
    return scanpy is None or int(scanpy.settings.verbosity) > 0


def check_validation(share: float) -> None:
    """Refuse what is no share of cells to hold out."""
    _checks.real("validation", share, zero=True)
    if share > MOST_HELD_OUT:
        msg = f"validation is the share of cells held out, at most {MOST_HELD_OUT}, got {share!r}."
        raise ValueError(msg)
