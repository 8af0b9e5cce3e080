"""What the tools of late 0.1 write: ``python tests/data/last_of_0_1.py`` made ``last_of_0_1.h5ad.gz``.

That file was written by the last development version 0.1.0 and must be readable for ever: it is never made anew. It has
what `first_version.h5ad` has not: the score, two conditions, samples, and what is compared and changed.
"""

from __future__ import annotations

import gzip
import io
import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np

from vgfm_sc import datasets, tl

SMALL = {"width": 4, "depth": 1, "match_steps": 6, "fit_steps": 2, "fit_cells": 10, "device": "cpu", "progress": False}


def worked() -> ad.AnnData:
    """One fit with two conditions and two models, and what every tool makes of it."""
    adata = datasets.branching(
        n_cells=12, n_dims=2, times=(0.0, 1.0, 2.5), treatment="growth", n_samples=2, n_clones=4, seed=0
    )
    adata.obsm["X_umap"] = adata.obsm["X_state"] ** 3
    keys = {"condition_key": "condition", "sample_key": "sample", "clone_key": "true_clone"}
    tl.fit(adata, "time", use_rep=None, n_models=2, **keys, **SMALL)
    treated, few = {"condition": "treated"}, {"n_cells": 10, "progress": False}
    tl.simulate(adata, n_cells=3, times=[0.0, 2.5], **treated)
    tl.annotate(adata, "cell_type")
    tl.project(adata, "umap")
    tl.evaluate(adata)
    tl.gene_velocity(adata)
    tl.rank_genes(adata, "growth")
    tl.fate(adata, "cell_type")
    tl.landscape(adata, time=2.5, **treated)
    tl.descendants(adata, ((adata.obs["time"] == 0) & (adata.obs["condition"] == "treated")).to_numpy())
    tl.compare(adata, "control", "treated", cluster_key="cell_type")
    tl.perturb(adata, {adata.var_names[0]: ("scale", 0.9)}, "cell_type", n_cells=10, **treated)
    tl.screen(adata, list(adata.var_names), "cell_type", to=("scale", 0.9), **few, **treated)
    assert np.isfinite(adata.obs["vgfm_landscape"]).all()
    return adata


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    path = Path(__file__).with_suffix(".h5ad.gz")
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver="v108") as file:  # takes less room than what `write_h5ad` opens
        ad.io.write_elem(file, "/", worked())
    path.write_bytes(gzip.compress(memory.getvalue(), mtime=0))
    print(path, path.stat().st_size)
