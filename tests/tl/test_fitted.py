"""Cells that no longer stand where they were fitted are not followed."""

from __future__ import annotations

import numpy as np
import pytest

from vgfm_sc import datasets, tl

TOOLS = {
    "simulate": tl.simulate,
    "evaluate": tl.evaluate,
    "fate": lambda adata: tl.fate(adata, "cell_type"),
    "interpolate": lambda adata: tl.interpolate(adata, 0.5),
    "landscape": tl.landscape,
    "gene_velocity": tl.gene_velocity,
    "rank_genes": tl.rank_genes,
    "regulators": tl.regulators,
    "project": lambda adata: tl.project(adata, "state"),
}


@pytest.fixture(scope="module")
def fitted(small):
    import scanpy as sc

    adata = datasets.branching(n_cells=60, n_dims=3, n_genes=30, times=(0.0, 1.0, 3.0), seed=0)
    sc.pp.pca(adata, n_comps=6)
    tl.fit(adata, "time", **{**small, "use_rep": "X_pca"})
    return adata


@pytest.mark.parametrize("name", TOOLS)
def test_components_made_anew_are_noticed(fitted, unchanged, name):
    import scanpy as sc

    adata = fitted[fitted.obs["cell_type"] != "fate_b"].copy()
    TOOLS[name](adata)  # of a subset nothing is wrong
    sc.pp.pca(adata, n_comps=6)
    with unchanged(adata), pytest.raises(ValueError, match=r"obsm\['X_pca'\] or obs\['time'\] is not what was fitted"):
        TOOLS[name](adata)


def test_times_in_another_unit_are_noticed(fitted):
    adata = fitted.copy()
    adata.obs["time"] *= 24
    with pytest.raises(ValueError, match=r"holds \[0.0, 24.0, 72.0\].*fit knows \[0.0, 1.0, 3.0\]"):
        tl.simulate(adata)


def test_cells_that_the_fit_has_not_seen_are_followed(fitted):
    new = datasets.branching(n_cells=40, n_dims=3, n_genes=30, times=(0.0, 1.0, 3.0), seed=1)
    new.obsm["X_pca"] = np.asarray((new.X - fitted.X.mean(axis=0)) @ fitted.varm["PCs"])
    new.uns["vgfm"] = fitted.uns["vgfm"]
    assert np.isfinite(tl.evaluate(new)["w1"]).all()


def test_other_cells_without_velocity_are_not_compared(fitted):
    adata = fitted.copy()
    moved = np.arange(adata.n_obs) % 2 == 0
    adata.obsm["vgfm_velocity_pca"][moved] = np.nan
    adata.obsm["X_pca"][moved] += 100
    tl.simulate(adata, start=np.flatnonzero(~moved & (adata.obs["time"] == 0)))
