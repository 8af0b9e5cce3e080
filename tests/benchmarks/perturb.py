"""Knock-outs predicted by fits to unchanged cells, against knock-outs that are simulated.

    python tests/benchmarks/perturb.py --steps 250         # the network in gene space and by PCA; the toggle switch
    python tests/benchmarks/perturb.py --null 10           # genes that do nothing, 20 in each of 10 fits
    python tests/benchmarks/perturb.py --null 10 --components 10
    python tests/benchmarks/perturb.py --time              # seconds

Of every gene: log ratio of the shares of both fates and difference of log final mass, simulated from 8,000 cells and
predicted by a held knock-out; ``called`` counts the fits in which a fate has an adjusted p-value below .05. Signs are
judged where the true log ratio exceeds .1 in size. Genes that do nothing are independent draws for every cell, as the
bystander is, and each is one trial. ``ceiling``: correlation of fates that the best answers reach that are the same for
a driver and all that rises with it.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
import scanpy as sc
from accuracy import machine
from anndata import AnnData

import vgfm_sc
from vgfm_sc.datasets import _regulatory_network

MODELS = 5
"""Of an ensemble."""

NULL_CELLS = 200
"""At the first time, of the cells with genes that do nothing."""

TRUE_CELLS, TRUE_SEEDS = 4000, (100, 101)
"""Of the simulated knock-outs."""

HALF = 0.5 / 200
"""Half a cell of a replicate, as `tl.perturb` adds it."""

MATTERS, LEVEL = 0.1, 0.05
"""Smallest effect whose sign is judged; adjusted p-value from which on an effect is called."""

QUICK = {"match_steps": 250, "fit_steps": 0}
"""Of the many fits with genes that do nothing."""

NULL_GENES = 20

TOGETHER = {"cycle": "driver_a", "marker_a": "driver_a", "marker_b": "driver_b"}
"""Genes that rise with another in the same cells, and that one."""


def true_effects(name: str, genes: list[str], fates: tuple[str, str], **size: int) -> pd.DataFrame:
    """Log ratios of shares and of mass by simulation, one row a gene."""

    def ends(knockout: str | None) -> np.ndarray:
        found = []
        for seed in TRUE_SEEDS:
            obs = getattr(vgfm_sc.datasets, name)(**size, knockout=knockout, seed=seed).obs
            last = obs.loc[obs["time"] == obs["time"].max(), "branch"]
            shares = [((last == fate).mean() + HALF) / (1 + 2 * HALF) for fate in fates]
            found.append([*shares, len(last) / (obs["time"] == 0).sum()])
        return np.log(np.mean(found, axis=0))

    unchanged = ends(None)
    return pd.DataFrame([ends(gene) - unchanged for gene in genes], index=genes, columns=[*fates, "mass"])


def screened(adata: AnnData, genes: list[str], replicates: int | None) -> pd.DataFrame:
    """The screen of ``genes``; knock-outs of genes that are never silent warn, and are asked all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Values that no cell has")
        warnings.filterwarnings("ignore", "The representation carries")
        return vgfm_sc.tl.screen(adata, genes, "branch", n_replicates=replicates, progress=False)


def wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row a gene, one column a fate, and mass."""
    table = table[table["effect"] != "energy"]
    return table.assign(of=table["fate"].where(table["effect"] == "fate", "mass")).pivot(
        index="names", columns="of", values=column
    )


def judged(title: str, truth: pd.DataFrame, tables: list[pd.DataFrame]) -> None:
    """Print truth beside the mean prediction, and what it is worth."""
    fates = list(truth)[:2]
    each = [wide(table, "estimate").loc[truth.index, list(truth)] for table in tables]
    called = sum((wide(table, "pvals_adj").loc[truth.index, fates] < LEVEL).any(axis=1).astype(int) for table in tables)
    carried = sum(table.groupby("names")["carried"].first() for table in tables) / len(tables)
    outside = sum(table.groupby("names")["outside_start"].first() for table in tables) / len(tables)
    rows = truth.add_prefix("true ").join((sum(each) / len(each)).add_prefix("found "))
    print(f"\n{title}: means of {len(tables)} fits")
    print(rows.assign(called=called, carried=carried, outside=outside).round(2).to_string())
    matters = truth[fates].abs() > MATTERS
    right = [np.sign(found[fates][matters]) == np.sign(truth[fates][matters]) for found in each]
    every = matters.any(axis=1)
    whole = [(r | ~matters)[every].all(axis=1) for r in right]
    r = [np.corrcoef(truth[fates].to_numpy().ravel(), found[fates].to_numpy().ravel())[0, 1] for found in each]
    of_mass = [np.corrcoef(truth["mass"], found["mass"])[0, 1] for found in each]
    print(f"signs right: {sum(w.sum() for w in whole)} of {len(each) * every.sum()} genes that matter", end="; ")
    print(f"correlation of fates {np.round(r, 2)}, ceiling {ceiling(truth[fates]):.2f}", end="; ")
    print(f"of mass {np.round(of_mass, 2)}")
    print(
        f"genes that do nothing and were called: {int(called[~every].sum())} of {len(each) * (~every).sum()}",
        flush=True,
    )


def ceiling(truth: pd.DataFrame) -> float:
    """Correlation with the truth of the means over genes that go together."""
    alike = truth.groupby([TOGETHER.get(gene, gene) for gene in truth.index]).transform("mean")
    return np.corrcoef(truth.to_numpy().ravel(), alike.to_numpy().ravel())[0, 1]


def fitted(adata: AnnData, settings: dict, **where: str | None) -> AnnData:
    """With an ensemble."""
    vgfm_sc.tl.fit(adata, "time", n_models=MODELS, score=False, progress=False, **where, **settings)
    return adata


def in_genes(seed: int, n_cells: int, settings: dict) -> dict[str, pd.DataFrame]:
    """Screens of the network in gene space, by models and by cells."""
    adata = vgfm_sc.datasets.regulatory_network(n_cells=n_cells, seed=seed)
    fitted(adata, settings | {"seed": seed}, use_rep=None)
    kinds = {"models": None, "cells": 10}
    return {
        f"network in gene space, replicates are {name}": screened(adata, list(_regulatory_network.GENES), replicates)
        for name, replicates in kinds.items()
    }


def in_components(seed: int, n_cells: int, settings: dict) -> dict[str, pd.DataFrame]:
    """A screen of the network among noise, on principal components."""
    adata = with_noise(vgfm_sc.datasets.regulatory_network(n_cells=n_cells, seed=seed), 40, seed)
    sc.pp.pca(adata, n_comps=10)
    fitted(adata, settings | {"seed": seed})
    title = "network and 40 genes of noise, 10 components, replicates are models"
    return {title: screened(adata, list(_regulatory_network.GENES), None)}


def of_switch(seed: int, n_cells: int, settings: dict) -> dict[str, pd.DataFrame]:
    """A screen of the toggle switch."""
    adata = fitted(
        vgfm_sc.datasets.toggle_switch(n_per_branch=n_cells // 2, seed=seed), settings | {"seed": seed}, use_rep=None
    )
    return {"toggle switch, replicates are models": screened(adata, ["gene1", "gene2"], None)}


def against_truth(seeds: list[int], n_cells: int, settings: dict) -> None:
    """The network in gene space, by cells and by models, and by PCA among noise; the toggle switch."""
    network, switch = truths()
    for screens, truth in ((in_genes, network), (in_components, network), (of_switch, switch)):
        found = [screens(seed, n_cells, settings) for seed in seeds]
        for title in found[0]:
            judged(title, truth, [one[title] for one in found])


def truths() -> tuple[pd.DataFrame, pd.DataFrame]:
    """True effects in the network and in the switch."""
    network = true_effects("regulatory_network", list(_regulatory_network.GENES), ("a", "b"), n_cells=TRUE_CELLS)
    genes = ["gene1", "gene2"]
    return network, true_effects("toggle_switch", genes, ("active", "quiescent"), n_per_branch=TRUE_CELLS // 2)


def with_noise(adata: AnnData, n: int, seed: int) -> AnnData:
    """The cells with ``n`` more genes, independent draws from the distribution that the bystander starts from."""
    rng = np.random.default_rng([seed, 1])
    more = np.exp(_regulatory_network.SPREAD * rng.standard_normal((adata.n_obs, n)))
    names = [*adata.var_names, *(f"noise{k}" for k in range(n))]
    x = np.column_stack([adata.X, more]).astype(np.float32)
    return AnnData(x, obs=adata.obs[["time", "branch"]].copy(), var=pd.DataFrame(index=names))


def null(seed: int, n_components: int | None) -> dict[str, pd.DataFrame]:
    """Effects on fates of genes that do nothing, by each kind of replicate, adjusted for all genes as by a user."""
    adata = with_noise(vgfm_sc.datasets.regulatory_network(n_cells=NULL_CELLS, seed=seed), NULL_GENES, seed)
    if n_components is not None:
        sc.pp.pca(adata, n_comps=n_components)
    fitted(adata, QUICK | {"seed": seed}, use_rep=None if n_components is None else "X_pca")
    found = {}
    for name, replicates in (("models", None), ("cells", 10)):
        table = screened(adata, list(adata.var_names), replicates)
        found[name] = table[(table["effect"] == "fate") & table["names"].str.startswith("noise")]
    return found


def say_null(found: list[dict[str, pd.DataFrame]]) -> None:
    """How many are called."""
    for name in found[0]:
        called = [(one[name]["pvals_adj"] < LEVEL).groupby(one[name]["names"]).any() for one in found]
        size = np.median(np.concatenate([one[name]["estimate"].abs() for one in found]))
        total = sum(map(len, called))
        print(
            f"replicates are {name}: {sum(c.sum() for c in called)} of {total} genes that do nothing are called",
            end="; ",
        )
        print(f"median size of their log ratios {size:.3f}", flush=True)


def timed() -> None:
    """Seconds of one knock-out in 2,000 cells and of a screen of 100 genes, on 50 components."""
    adata = vgfm_sc.datasets.branching(n_cells=2000, n_dims=50, n_genes=200)
    adata.obs["branch"] = adata.obs["cell_type"]
    sc.pp.pca(adata, n_comps=50)
    some = adata[np.random.default_rng(0).permutation(adata.n_obs)[:2000]].copy()
    vgfm_sc.tl.fit(some, "time", match_steps=300, fit_steps=0, score=False, progress=False)
    adata.uns["vgfm"] = some.uns["vgfm"]
    start = adata.obs["time"].to_numpy() == 0
    names = list(adata.var_names[:100])
    for name, run in (
        ("a knock-out, 10 replicates of 200 cells", lambda: vgfm_sc.tl.perturb(adata, {"gene0": 1.0}, "branch")),
        ("100 genes, the same", lambda: vgfm_sc.tl.screen(adata, names, "branch", to=1.0, progress=False)),
    ):
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
        seconds = time.perf_counter() - began
        print(f"{name}, of {int(start.sum())} at the start and {adata.n_obs} in all: {seconds:.1f} s", flush=True)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=200, help="at the first time, of the cells that are fitted")
    parser.add_argument("--steps", type=int, help="of the first stage, without the second; else the defaults")
    parser.add_argument("--null", type=int)
    parser.add_argument("--components", type=int, help="of the fits with genes that do nothing; else in gene space")
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    print(machine())
    if args.time:
        timed()
    elif args.null:
        say_null([null(seed, args.components) for seed in range(args.null)])
    else:
        against_truth(args.seeds, args.cells, {} if args.steps is None else QUICK | {"match_steps": args.steps})


if __name__ == "__main__":
    main()
