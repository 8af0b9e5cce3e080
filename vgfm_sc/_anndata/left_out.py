"""What `tl.holdout` and `tl.choose` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anndata as ad
import pandas as pd

from vgfm_sc._anndata.keys import MARK


def read_holdout(adata: ad.AnnData, key: str) -> pd.DataFrame:
    """The table of `tl.holdout`, or that of `tl.choose` by time point."""
    entry = adata.uns.get(f"{key}_holdout")
    if not isinstance(entry, Mapping) or entry.get("package") != MARK:
        msg = f"No scores found in adata.uns['{key}_holdout']. Run `vgfm_sc.tl.holdout(adata, time_key=...)` first."
        others = [k.removesuffix("_holdout") for k, v in adata.uns.items() if _has_scores(v) and k.endswith("_holdout")]
        if others:
            msg += f" Scores present: key={others}."
        raise KeyError(msg)
    return entry["scores"]


def read_choice(adata: ad.AnnData, key: str) -> str | None:
    """Name of the candidate that `tl.choose` chose, where the scores under ``key`` are its."""
    chosen = adata.uns[f"{key}_holdout"].get("chosen")
    return None if chosen is None else str(chosen)


def _has_scores(entry: Any) -> bool:
    return isinstance(entry, Mapping) and entry.get("package") == MARK and "scores" in entry
