"""Seconds and memory of tools on many cells.

    python tests/benchmarks/tools.py                        # every tool; 100,000 cells, 2,000 genes
    python tests/benchmarks/tools.py --cells 20000
    python tests/benchmarks/tools.py --branching 2 50       # those that follow cells; 128,000 cells at three times
    python tests/benchmarks/tools.py --branching 2 50 --fit # and the fit with its defaults

Five clusters of `cases.clusters` at four times and 50 principal components of a sparse matrix of counts, or the
branching process in so many dimensions, each in a process of its own. Unless --fit says otherwise the fit is a short
one: a tool costs the same after a long one. Each tool is run once, one after the other. Processor seconds stand beside
seconds: where other work has the processors, they are the ones to compare.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anndata
import numpy as np
from accuracy import machine
from anndata import AnnData
from cases import clusters
from scipy.sparse import csr_matrix, vstack

import vgfm_sc
from vgfm_sc import tl

TIMES = (0.0, 1.0, 2.0, 3.0)
N_GENES, N_COMPONENTS, BLOCK = 2000, 50, 10_000

DRAWS, CELLS_DRAWN = 10, 3100
"""Draws of the branching process that are put together, which take a tenth of the memory of one, and the cells that
each has at the first of three times."""

SHORT = {"match_steps": 200, "fit_steps": 5}


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


def branching(n_dims: int) -> AnnData:
    """Many cells of the branching process, with a curved embedding."""
    draw = partial(vgfm_sc.datasets.branching, n_cells=CELLS_DRAWN, n_dims=n_dims, times=(0.0, 1.0, 2.0), space_seed=0)
    adata = anndata.concat([draw(seed=k) for k in range(DRAWS)], index_unique="-")
    adata.obsm["X_umap"] = np.tanh(adata.obsm["X_state"][:, :2])
    return adata


def every_tool(adata: AnnData) -> dict[str, Callable[[], object]]:
    some = np.flatnonzero(adata.obs["time"].to_numpy() == 1.0)[:100]
    return {
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


def following(adata: AnnData) -> dict[str, Callable[[], object]]:
    return {
        "project": lambda: tl.project(adata, "umap"),  # before cells are simulated: cells alone
        "evaluate": lambda: tl.evaluate(adata),
        "fate": lambda: tl.fate(adata, "cell_type"),
        "fate, backward": lambda: tl.fate(adata, "cell_type", direction="backward"),
        "simulate": lambda: tl.simulate(adata, n_cells=None),
    }


def timed(adata: AnnData, use_rep: str, fit: dict[str, int], tools: dict[str, Callable[[], object]]) -> None:
    """Print a row for the fit and for each tool."""
    print(f"{adata.n_obs:,} cells, {adata.n_vars:,} genes, {adata.obsm[use_rep].shape[1]} dimensions")
    print(f"{'tool':22}{'seconds':>9}{'processor':>11}{'peak GB so far':>16}")
    tools = {
        "(before)": lambda: None,
        "fit (short)" if fit else "fit": lambda: tl.fit(adata, "time", use_rep=use_rep, progress=False, **fit),
        **tools,
    }
    for name, tool in tools.items():
        began, before = time.perf_counter(), time.process_time()
        tool()
        seconds, used = time.perf_counter() - began, time.process_time() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name:22}{seconds:9.1f}{used:11.1f}{peak:16.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--branching", type=int, nargs="+", metavar="DIMS")
    parser.add_argument("--fit", action="store_true", help="with the defaults")
    args = parser.parse_args()
    fit = {} if args.fit else SHORT
    if args.branching and len(args.branching) > 1:
        for dims in args.branching:
            subprocess.run([sys.executable, Path(__file__), f"--branching={dims}", *["--fit"] * args.fit], check=True)
        return
    print(machine())
    if args.branching:
        adata = branching(args.branching[0])
        timed(adata, "X_state", fit, following(adata))
    else:
        adata = course(args.cells)
        timed(adata, "X_pca", fit, every_tool(adata))


if __name__ == "__main__":
    main()
