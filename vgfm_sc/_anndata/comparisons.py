"""What `tl.compare` wrote."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np

from vgfm_sc._anndata.keys import named
from vgfm_sc._anndata.results import read_result


def read_comparison(adata: ad.AnnData, key: str) -> tuple[dict[str, Any], np.ndarray]:
    """The comparison of two conditions, and the difference of growth at each cell, shape ``(n_obs,)``."""
    result, name = read_result(adata, key), f"{key}_growth_difference"
    if "comparison" not in result or name not in adata.obs:
        msg = (
            f"No comparison in adata.uns[{key!r}]. Run `vgfm_sc.tl.compare(adata, reference, other{named(key)})` first."
        )
        raise KeyError(msg)
    return result["comparison"], adata.obs[name].to_numpy(dtype=float)
