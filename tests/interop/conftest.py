"""Other packages: each file is skipped where its package is not installed (`pip install -e ".[test,interop]"`)."""

from __future__ import annotations

import re
from pathlib import Path

import anndata as ad
import pytest

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

    def run(heading: str, **names) -> dict:
        section = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", uncommented(RECIPES.read_text()), re.M | re.S)
        for block in re.findall(r"^```python\n(.*?)^```", section[1], re.M | re.S):
            exec(compile(block, f"docs/interop.md, {heading}", "exec"), names)
        return names

    return run


def uncommented(text: str) -> str:
    """Without comments in code, whose ``#`` would pass for a heading."""
    return re.sub(r"^#(?!#* [A-Z]).*$", "", text, flags=re.M)
