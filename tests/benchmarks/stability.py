"""Which genes growth depends on, by two seeds: over all genes, and over those that an ensemble calls stable.

    python tests/benchmarks/stability.py
    python tests/benchmarks/stability.py --data tutorial --draws same --models 5 10

Each seed fits an ensemble to cells of the branching process, reduced by PCA: ``same`` cells, or each seed its own half
of them (``halves``). ``sensitivity`` of `tl.rank_genes`, over all cells or those of one type, is correlated over genes
between the two seeds. ``one``: of the model itself, all genes. ``mean``: of the mean over the models, all genes.
``stable``: how many genes the first seed calls stable; ``r``: correlation over these; ``sign``: share of them that has
the same sign in the second seed; ``follow``: how many of them follow growth by construction, of 20.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pandas as pd
import scanpy as sc
from accuracy import machine

import vgfm_sc

DATA = {  # genes and axes of a study, and what the tutorial on growth shows
    "study": ({"n_genes": 2000}, {"n_comps": 50}, {"fit_steps": 0}),
    "tutorial": (
        {"n_cells": 150, "n_genes": 200, "n_growth_genes": 20},
        {"n_comps": 10},
        {"fit_steps": 0, "match_steps": 700},
    ),
}


def ranked(adata, group: str) -> pd.DataFrame:
    cells = None if group == "all" else (adata.obs["cell_type"] == group).to_numpy()
    vgfm_sc.tl.rank_genes(adata, cells=cells)
    return vgfm_sc.get.genes(adata).set_index("names").loc[adata.var_names]


def rows(name: str, draw: str, n_models: int) -> list[dict[str, float]]:
    """One for all cells and for each type."""
    simulated, pca, settings = DATA[name]
    adata = vgfm_sc.datasets.branching(seed=0, **simulated)
    sc.pp.pca(adata, random_state=0, **pca)
    half = np.random.default_rng(0).random(adata.n_obs) < 0.5
    fits = [adata.copy(), adata.copy()] if draw == "same" else [adata[half].copy(), adata[~half].copy()]
    for seed, fit in enumerate(fits):
        vgfm_sc.tl.fit(fit, "time", seed=seed, n_models=n_models, score=False, progress=False, **settings)
    groups, found = ["all", *adata.obs["cell_type"].cat.categories], []
    for group in groups:
        first, second = (ranked(fit, group) for fit in fits)
        stable = first["stable"].to_numpy()
        one, other = first["sensitivity"], second["sensitivity"]
        found.append(
            {
                "data": name,
                "draws": draw,
                "models": n_models,
                "cells": group,
                "mean": one.corr(other),
                "stable": stable.sum(),
                "r": one[stable].corr(other[stable]) if stable.sum() > 2 else np.nan,
                "sign": (np.sign(one) == np.sign(other))[stable].mean(),
                "follow": (stable & adata.var["growth_gene"].to_numpy()).sum(),
            }
        )
    for fit in fits:
        del fit.uns["vgfm"]["ensemble"]
    for row, group in zip(found, groups, strict=True):
        first, second = (ranked(fit, group)["sensitivity"] for fit in fits)
        row["one"] = first.corr(second)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--draws", nargs="+", choices=("same", "halves"), default=["same", "halves"])
    parser.add_argument("--models", nargs="+", type=int, default=[5])
    arguments = parser.parse_args()
    print(machine())
    asked = itertools.product(arguments.data, arguments.draws, arguments.models)
    table = pd.DataFrame([row for case in asked for row in rows(*case)])
    columns = ["data", "draws", "models", "cells", "one", "mean", "stable", "r", "sign", "follow"]
    print(table[columns].to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
