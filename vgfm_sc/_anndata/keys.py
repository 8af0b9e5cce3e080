"""Names of what is written."""

from __future__ import annotations

from typing import Any, NamedTuple

import anndata as ad

MARK = "vgfm_sc"
"""Value of ``uns[key]["package"]``: tells our results from a user's own entry of the same name."""


class Keys(NamedTuple):
    """Where the results of one fit live."""

    uns: str
    use_rep: str
    velocity: str
    growth: str
    mass: str
    coupling: str
    growth_sd: str
    velocity_sd: str

    @classmethod
    def of(cls, key: str, use_rep: str) -> Keys:
        """The keys of ``key_added=key`` on the representation ``use_rep``, or on ``"genes"``."""
        return cls(
            key,
            use_rep,
            f"{key}_velocity_{basis_name(use_rep)}",
            f"{key}_growth",
            f"{key}_mass",
            f"{key}_coupling",
            f"{key}_growth_sd",
            f"{key}_velocity_sd",
        )

    def slots(self, n_models: int) -> list[tuple[str, str]]:
        """``(slot, name)`` of what a fit of so many models writes."""
        single = [
            ("uns", self.uns),
            ("obsm", self.velocity),
            ("obs", self.growth),
            ("obs", self.mass),
            ("obsp", self.coupling),
        ]
        return single if n_models == 1 else [*single, ("obs", self.growth_sd), ("obs", self.velocity_sd)]


def named(key: str) -> str:
    """How a call that an error suggests names the fit; the default goes without saying."""
    return "" if key == "vgfm" else f", key={key!r}"


def check_name(name: Any, argument: str) -> None:
    """Refuse what cannot be a name."""
    if not isinstance(name, str):
        msg = f"{argument} must be a name, got {name!r}."
        raise TypeError(msg)


def names(given: Any, argument: str) -> list[str]:
    """One name, or several, as a list."""
    listed = [given] if isinstance(given, str) or not hasattr(given, "__iter__") else list(given)
    for name in listed:
        check_name(name, argument)
    return listed


def basis_key(adata: ad.AnnData, basis: str) -> str:
    """Key of ``obsm`` that is meant by ``basis``, which may leave out the ``X_``."""
    for name in (f"X_{basis}", basis):
        if name in adata.obsm:
            return name
    msg = f"Basis {basis!r} not found in adata.obsm. Available: {[basis_name(k) for k in adata.obsm]}."
    raise KeyError(msg)


def basis_name(use_rep: str) -> str:
    """``"X_pca"`` -> ``"pca"``."""
    if not isinstance(use_rep, str):
        msg = f"A basis is a key of obsm, with or without its X_, got {use_rep!r}."
        raise TypeError(msg)
    return use_rep.removeprefix("X_")


def check_key(key: Any, argument: str = "key_added") -> None:
    """A key that h5ad and zarr can store."""
    if not isinstance(key, str) or not key:
        msg = f"{argument} must be a non-empty string, got {key!r}."
        raise TypeError(msg)
    if "/" in key:
        msg = f"{argument}={key!r} contains '/', which h5ad and zarr read as a folder. Choose a name without it."
        raise ValueError(msg)
