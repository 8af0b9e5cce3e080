"""Seconds and memory of every tool on many cells.

    python tests/benchmarks/tools.py                    # 100,000 cells, 2,000 genes
    python tests/benchmarks/tools.py --cells 20000

Five clusters of `cases.clusters` at four times; 50 principal components of a sparse matrix of counts. The fit itself is
a short one: a tool costs the same after a long one. Each tool is run once, one after the other in one process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from accuracy import machine
from anndata import AnnData
from cases import clusters
from scipy.sparse import csr_matrix, vstack

import vgfm_sc
from vgfm_sc import tl

TIMES = (0.0, 1.0, 2.0, 3.0)
N_GENES, N_COMPONENTS, BLOCK = 2000, 50, 10_000


def course(n_cells: int) -> AnnData:
    """Cells in all, with counts, their components as scanpy stores them, and a linear embedding."""
    case = clusters(n_cells // len(TIMES), 10, TIMES)
    state = case.adata.obsm["X_noisy"]
    rng = np.random.default_rng(0)
    weights = 0.3 * rng.standard_normal((10, N_GENES))
    rates = (np.exp(state[k : k + BLOCK] @ weights - 2) for k in range(0, len(state), BLOCK))
    counts = vstack([csr_matrix(rng.poisson(np.minimum(rate, 20)).astype(np.float32)) for rate in rates], format="csr")
    adata = AnnData(counts, obs=case.adata.obs)
    adata.obs["cluster"] = adata.obs["cluster"].cat.rename_categories(str)
    centre = np.asarray(counts.mean(axis=0)).ravel()
    sample = counts[rng.permutation(counts.shape[0])[:BLOCK]].toarray() - centre
    axes = np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :N_COMPONENTS]
    adata.varm["PCs"] = axes
    adata.obsm["X_pca"] = np.asarray(counts @ axes - centre @ axes)
    adata.uns["pca"] = {"params": {"zero_center": True, "use_highly_variable": False, "mask_var": None}}
    adata.obsm["X_umap"] = adata.obsm["X_pca"][:, :2].copy()
    return adata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    adata = course(parser.parse_args().cells)
    some = np.flatnonzero(adata.obs["time"].to_numpy() == 1.0)[:100]
    tools: dict[str, Callable[[], object]] = {
        "fit (short)": lambda: tl.fit(adata, "time", match_steps=200, fit_steps=5, progress=False),
        "evaluate": lambda: tl.evaluate(adata),
        "simulate": lambda: tl.simulate(adata, n_cells=None),
        "simulate, 200 cells": lambda: tl.simulate(adata),
        "annotate": lambda: tl.annotate(adata, ["cluster", adata.var_names[0]]),
        "project": lambda: tl.project(adata, "umap"),
        "interpolate": lambda: tl.interpolate(adata, 1.5, cluster_key="cluster"),
        "descendants": lambda: tl.descendants(adata, some),
        "ancestors": lambda: tl.ancestors(adata, some),
        "fate": lambda: tl.fate(adata, "cluster"),
        "fate, backward": lambda: tl.fate(adata, "cluster", direction="backward"),
        "gene_velocity": lambda: tl.gene_velocity(adata),
        "rank_genes, growth": lambda: tl.rank_genes(adata, "growth"),
        "rank_genes, velocity": lambda: tl.rank_genes(adata, "velocity"),
        "rank_genes, fate": lambda: tl.rank_genes(adata, "fate"),
        "regulators": lambda: tl.regulators(adata),
        "get.couplings": lambda: vgfm_sc.get.couplings(adata),
    }
    print(machine())
    print(f"{adata.n_obs:,} cells, {adata.n_vars:,} genes, {N_COMPONENTS} components")
    print(f"{'tool':22}{'seconds':>9}{'peak GB so far':>16}")
    for name, tool in tools.items():
        began = time.perf_counter()
        tool()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name:22}{time.perf_counter() - began:9.1f}{peak:16.1f}", flush=True)


if __name__ == "__main__":
    main()
