"""Checks of the numbers and names that `fit` takes, before any work is done."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from vgfm_sc import _anndata, methods
from vgfm_sc.core.scaling import Scaling

MAY_BE_ZERO = ("fit_steps", "mass_weight", "seed", "validation")
REAL = ("match_lr", "fit_lr", "mass_weight", "validation")
MAY_BE_NONE = ("patience",)
AT_LEAST = {"fit_cells": 2}
"""Samples are cut in halves."""

SMALLEST = 1e-35
"""Size of results below which, or above whose inverse, they come close to the range of float32, 1e-38 to 3e38."""

MOST_HELD_OUT = 0.5
"""Share of the cells beyond which there is more to judge on than to learn from."""


def check_method(method: str | methods.Method) -> methods.Method:
    """The method meant by a name, or the user's own."""
    if isinstance(method, methods.Method):
        return method
    named = {"vgfm": methods.vgfm, "otcfm": methods.otcfm}
    if not isinstance(method, str) or method not in named:
        msg = f"Unknown method {method!r}. Available: {list(named)}, or a `vgfm_sc.methods.Method` of your own."
        raise ValueError(msg)
    return named[method]()


def check_takes_prior(method: methods.Method) -> None:
    """Refuse a method in which no cell may differ in growth."""
    if method.name == "otcfm":
        msg = (
            "method='otcfm' makes all cells grow alike and has no use for growth_prior. Use method='vgfm', which with "
            "a large rho follows the prior closely: method=vgfm_sc.methods.vgfm(rho=100)."
        )
        raise ValueError(msg)


def warn_of_space(representation: _anndata.Representation, x: np.ndarray) -> None:
    """Warn of positions between which distances mean little: counts, and embeddings made for the eye."""
    where, name = representation.where, representation.name.lower()
    if representation.use_rep is None and (x >= 0).all() and (x == np.round(x)).all():
        msg = (
            f"{where} holds whole numbers, as counts are: distances are then those of library size. Normalise and take "
            "logs first (`sc.pp.normalize_total`, `sc.pp.log1p`)."
        )
    elif any(embedding in name for embedding in ("umap", "tsne")):
        msg = (
            f"{where} is made to be looked at: distances in it mean little, and with them velocity and growth. Fit "
            "'X_pca' or a latent space, and lay the result on the embedding with `vgfm_sc.tl.project`."
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
                f"{name} would be of size {size:.0e}, which single precision does not hold. Choose other units for the "
                "times or the representation."
            )
            raise ValueError(msg)


def shown(progress: bool | None) -> bool:
    """Whether to show progress bars: as asked for, or as quiet as scanpy is where it is in use."""
    if progress is not None:
        return progress
    scanpy = sys.modules.get("scanpy")  # importing it takes seconds
    return scanpy is None or int(scanpy.settings.verbosity) > 0


def check_numbers(numbers: Mapping[str, Any]) -> None:
    """Type and range of every number."""
    for name, value in numbers.items():
        if value is None and name in MAY_BE_NONE:
            continue
        whole = name not in REAL
        if isinstance(value, bool) or not isinstance(value, int | np.integer if whole else int | float | np.number):
            msg = f"{name} must be {'an integer' if whole else 'a number'}, got {value!r}."
            raise TypeError(msg)
        if name == "seed" and not 0 <= value < 2**63:
            msg = f"seed must lie between 0 and 2**63, got {value!r}."
            raise ValueError(msg)
        if not np.isfinite(value) or value < 0 or (value == 0 and name not in MAY_BE_ZERO):
            msg = f"{name} must be {'at least 0' if name in MAY_BE_ZERO else 'positive'}, got {value!r}."
            raise ValueError(msg)
        if value < AT_LEAST.get(name, 0):
            msg = f"{name} must be at least {AT_LEAST[name]}, got {value!r}."
            raise ValueError(msg)
    if numbers.get("validation", 0) > MOST_HELD_OUT:
        msg = f"validation is the share of cells held out, at most {MOST_HELD_OUT}, got {numbers['validation']!r}."
        raise ValueError(msg)
