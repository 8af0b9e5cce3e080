"""Other packages: each file is skipped where its package is not installed (`pip install -e ".[test,interop]"`)."""

from __future__ import annotations

import re
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import vgfm_sc
from vgfm_sc import datasets, tl

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "interop.md"


@pytest.fixture(scope="session")
def branched() -> ad.AnnData:
    """A fit to two fates with known truth, named as users name their data; copy before changing."""
    adata = datasets.branching(n_cells=150, seed=0)
    adata.obs["day"] = adata.obs["time"]
    adata.obsm["X_pca"] = adata.obsm["X_state"]
    tl.fit(adata, "day", match_steps=400, fit_steps=0, width=64, depth=3, progress=False)
    return adata


@pytest.fixture(scope="session")
def recipe():
    """``recipe(heading, adata=adata)`` runs the code below a heading of docs/interop.md and returns all names."""
    import scanpy as sc

    def run(heading: str, **names) -> dict:
        names |= {"np": np, "sc": sc, "vgfm_sc": vgfm_sc}
        section = RECIPES.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
        for block in re.findall(r"^```python\n(.*?)^```", section, flags=re.M | re.S):
            exec(compile(block, f"docs/interop.md, {heading}", "exec"), names)
        return names

    return run
