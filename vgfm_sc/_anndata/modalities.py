"""A MuData is read and written at its top level, where it has all that an AnnData has but expression."""

from __future__ import annotations

from typing import Any

NEEDED = ("obs", "obsm", "obsp", "uns", "n_obs", "is_view")
"""What a fit to a key of ``obsm`` uses."""


def check_readable(adata: Any) -> None:
    """Refuse what neither is an AnnData nor can stand in for one."""
    missing = [name for name in NEEDED if not hasattr(adata, name)]
    if missing:
        msg = f"Expected an AnnData, got {type(adata).__name__}, which has no {', '.join(missing)}."
        raise TypeError(msg)


def check_has_genes(adata: Any) -> None:
    """Refuse a MuData where expression is needed."""
    if hasattr(adata, "mod"):
        msg = f"A {type(adata).__name__} holds expression only in its modalities. Pass {_any_of(adata.mod)}."
        raise TypeError(msg)


def owners(adata: Any, slot: str, name: str) -> str:
    """Which modalities have what was not found at the top level, to end an error with; nothing if none has it."""
    found = [m for m, part in getattr(adata, "mod", {}).items() if name in getattr(part, slot)]
    return f" A modality has it: pass {_any_of(found)}." if found else ""


def _any_of(names: Any) -> str:
    return " or ".join(f"mdata[{name!r}]" for name in names)
