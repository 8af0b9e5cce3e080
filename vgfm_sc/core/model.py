"""Where `Model` was in version 0.1: it is in `vgfm_sc.core.dynamics.model` now, and asking for it here says so."""

from __future__ import annotations

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    """Raise for every name that the module had; Python itself asks for names with two underscores."""
    if name.startswith("__"):
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    msg = f"vgfm_sc.core.model has moved: from vgfm_sc.core.dynamics.model import {name}"
    raise ImportError(msg)
