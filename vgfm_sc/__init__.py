"""Velocity and growth from unpaired, unbalanced time-course single-cell data."""

from __future__ import annotations

import importlib
import logging
from importlib.metadata import version

__version__ = version("vgfm_sc")
__all__ = ["datasets", "get", "methods", "pl", "tl"]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str):
    """Import a part of the package when it is first used, so that ``import vgfm_sc`` stays light."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
