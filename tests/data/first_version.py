"""All that the tools write, in few cells: ``python tests/data/first_version.py`` made ``first_version.h5ad``.

That file was written by version 0.1.0 and must be readable for ever: it is never made anew.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import scanpy as sc

from vgfm_sc import datasets, tl

SMALL = {"width": 8, "depth": 1, "match_steps": 6, "fit_steps": 2, "fit_cells": 20, "device": "cpu", "progress": False}


def worked(n_cells: int) -> ad.AnnData:
    """Two fits, ``"vgfm"`` to a PCA and ``"of_genes"`` to genes, and what every tool makes of them."""
    adata = datasets.branching(n_cells=n_cells, n_dims=3, n_genes=6, n_growth_genes=2, times=(0.0, 1.0, 2.5), seed=0)
    adata.obs["day"] = adata.obs["time"].map({0.0: "E8", 1.0: "E9/10", 2.5: "E11"}).astype("category")
    adata.obs["expected"] = adata.obs["true_growth"].to_numpy() / 2
    adata.obsm["X_umap"] = adata.obsm["X_state"][:, :2] ** 3
    sc.pp.pca(adata, n_comps=3)
    known = {"E8": 8.0, "E9/10": 9.5, "E11": 11.0}
    totals = {"E8": 100, "E9/10": 250, "E11": 900}
    mapped = {"time_map": known, "mass": totals, "growth_prior": "expected"}
    tl.fit(adata, "day", **mapped, n_models=2, validation=0.2, seed=3, **SMALL)
    tl.fit(adata, "time", use_rep=None, genes=list(adata.var_names[:4]), key_added="of_genes", patience=None, **SMALL)
    tl.simulate(adata, n_cells=3, times=[8.0, 9.0, 11.0])
    tl.simulate(adata, n_cells=3, times=[0.0, 1.0, 2.0], branching=True, noise=0.1, key="of_genes")
    tl.project(adata, "umap")
    for key in ("vgfm", "of_genes"):
        tl.annotate(adata, ["cell_type", *adata.var_names, "true_growth"], key=key)
        tl.evaluate(adata, key=key)
        tl.gene_velocity(adata, key=key)
        for by in ("growth", "velocity"):
            tl.rank_genes(adata, by, key=key)
    for direction in ("forward", "backward"):
        tl.fate(adata, "cell_type", direction=direction)
    tl.rank_genes(adata, "fate")
    seen = np.isfinite(adata.obs["vgfm_mass"].to_numpy())
    tl.descendants(adata, (adata.obs["time"] == 0).to_numpy() & seen)
    tl.ancestors(adata, (adata.obs["time"] == 2.5).to_numpy(), to=1.0, key="of_genes")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*centred on all cells")
        tl.holdout(adata, "day", time_map=known, mass=totals, **SMALL)
    return adata


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    path = Path(__file__).with_suffix(".h5ad")
    with h5py.File(path, "w", libver="v108") as file:  # takes less room than what `write_h5ad` opens
        ad.io.write_elem(file, "/", worked(12))
    print(path, path.stat().st_size)
