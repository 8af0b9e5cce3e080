"""Write results, all or nothing, and never over what is the user's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import anndata as ad
import numpy as np

from vgfm_sc._anndata.keys import MARK, Keys
from vgfm_sc._anndata.representation import Representation
from vgfm_sc._anndata.results import is_fit, read_result


def check_free(adata: ad.AnnData, keys: Keys, n_models: int) -> list[tuple[str, str]]:
    """Refuse to overwrite entries that are not ours; the entries of an earlier fit that the new one leaves behind."""
    ours: set[tuple[str, str]] = set()
    earlier = adata.uns.get(keys.uns)
    if is_fit(earlier):
        params = earlier.get("params", {})
        theirs = Keys.of(keys.uns, Representation.stored(params).name) if params else keys
        ours = set(theirs.slots(int(params.get("n_models", 1))))
        ours |= _derived(earlier)
    wanted = set(keys.slots(n_models))
    taken = sorted(f"{slot}[{name!r}]" for slot, name in wanted - ours if name in getattr(adata, slot))
    if taken:
        msg = f"adata already holds {', '.join(taken)}, not written by a fit. Choose another key_added."
        raise ValueError(msg)
    return sorted(ours - wanted)


def _derived(result: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Entries that tools have written beside ``uns[key]`` since the fit."""
    return {(slot, name) for slot, _, name in (str(entry).partition(":") for entry in result.get("derived", ()))}


def check_derived(adata: ad.AnnData, key: str, entries: Sequence[tuple[str, str]]) -> None:
    """Refuse to overwrite what no tool has written from the fit under ``key``."""
    ours = _derived(read_result(adata, key))
    taken = [f"{slot}[{name!r}]" for slot, name in entries if name in getattr(adata, slot) and (slot, name) not in ours]
    if taken:
        msg = f"adata already holds {', '.join(taken)}, not written from the fit under {key!r}. Rename it first."
        raise ValueError(msg)


def write_derived(adata: ad.AnnData, key: str, entries: Mapping[tuple[str, str], Any], **changes: Any) -> None:
    """Set ``entries`` as `write` does and ``changes`` in ``uns[key]``; the next fit under ``key`` drops both."""
    check_derived(adata, key, list(entries))
    result = read_result(adata, key)
    known = sorted(f"{slot}:{name}" for slot, name in _derived(result) | set(entries))
    if known:
        result["derived"] = np.asarray(known, dtype=str)
    write(adata, {**entries, ("uns", key): {**result, **changes}}, level=4)


def check_holdout(adata: ad.AnnData, key: str) -> None:
    """Refuse to overwrite what is not the scores of times left out."""
    name = f"{key}_holdout"
    earlier = adata.uns.get(name)
    if name in adata.uns and not (isinstance(earlier, Mapping) and earlier.get("package") == MARK):
        msg = f"adata already holds uns[{name!r}], not written by `vgfm_sc.tl.holdout`. Choose another key_added."
        raise ValueError(msg)


def check_prior(adata: ad.AnnData, key: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Refuse to overwrite what `tl.growth_prior` has not written; entries of an earlier prior that are left behind."""
    earlier = adata.uns.get(key)
    ours: set[tuple[str, str]] = set()
    if isinstance(earlier, Mapping) and earlier.get("package") == MARK and "scale" in earlier:
        ours = {("uns", key), *(("obs", str(name)) for name in earlier["columns"])}
    wanted = {("uns", key), *(("obs", name) for name in names)}
    taken = sorted(f"{slot}[{name!r}]" for slot, name in wanted - ours if name in getattr(adata, slot))
    if taken:
        msg = (
            f"adata already holds {', '.join(taken)}, not written by `vgfm_sc.tl.growth_prior`. Choose another "
            "key_added."
        )
        raise ValueError(msg)
    return sorted(ours - wanted)


def write(
    adata: ad.AnnData, entries: Mapping[tuple[str, str], Any], remove: Sequence[tuple[str, str]] = (), *, level: int = 3
) -> None:
    """Set ``{(slot, name): value}`` and drop ``remove``, all or not at all; warnings point ``level`` calls up."""
    if adata.is_view:
        msg = "adata is a view: results are written to this object, not to the one it was taken from."
        warnings.warn(msg, UserWarning, stacklevel=level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ad.ImplicitModificationWarning)
            adata.obs = adata.obs.copy()  # makes the view an object of its own
    missing = object()
    before = {(slot, name): getattr(adata, slot).get(name, missing) for slot, name in [*entries, *remove]}
    try:
        for slot, name in remove:
            if name in getattr(adata, slot):
                del getattr(adata, slot)[name]
        for (slot, name), value in entries.items():
            getattr(adata, slot)[name] = value
    except BaseException:
        for (slot, name), value in before.items():
            if value is not missing:
                getattr(adata, slot)[name] = value
            elif name in getattr(adata, slot):
                del getattr(adata, slot)[name]
        raise
