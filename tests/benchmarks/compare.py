"""Treated against control with replicates: are differences right, and do their intervals cover the truth?

    python tests/benchmarks/compare.py                                     # the whole table
    python tests/benchmarks/compare.py growth none --seeds 0 1 --samples 3 --fit match_steps=800 fit_steps=0

The branching process with ``n_samples`` samples of each condition at each time, 200 cells a condition at the first, in
ten dimensions or as told; ``unequal``: every fifth treated cell is kept. ``growth``: fate a grows twice as fast;
``fate``: .7 in place of .5 of the cells go to fate a; ``none``: nothing differs. Ensembles of five models, samples
drawn again.

``a``, ``b``, ``progenitor``: difference of growth in the cluster, less the true one over the same cells, as a share of
the growth of fate a in control. ``fate``, ``mass``: of the share of fate a at the end, and of log mass, less the truth.
``covered``: share of the 95% intervals that hold the truth, of growth, fates and mass. ``called``: share of the rows of
the table with an adjusted p-value below .05. ``width``: mean width of the intervals of growth. Means over seeds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from accuracy import changes, machine
from anndata import AnnData

import vgfm_sc
from vgfm_sc.datasets import _fork

ROWS = ["growth", "fate", "none"]
N_CELLS, N_MODELS, SPACE, KEPT = 200, 5, 0, 5
LARGE = 5000
"""Cells at the first time of the draw whose shares and masses count as true."""


def drawn(row: str, n_samples: int, seed: int, unequal: bool, n_dims: int) -> AnnData:
    """Cells of a row of the table."""
    adata = vgfm_sc.datasets.branching(
        n_cells=N_CELLS, n_dims=n_dims, treatment=row, n_samples=n_samples, seed=seed, space_seed=SPACE
    )
    if not unequal:
        return adata
    treated = np.flatnonzero(adata.obs["condition"] == "treated")
    return adata[np.setdiff1d(np.arange(adata.n_obs), np.delete(treated, np.s_[::KEPT]))].copy()


def truth(row: str, n_dims: int) -> dict[tuple[str, str], float]:
    """Differences of shares at the end and of log mass, from many cells of the mean sample."""
    obs = vgfm_sc.datasets.branching(n_cells=LARGE, n_dims=n_dims, treatment=row, seed=1000, space_seed=SPACE).obs
    first, last = (obs[obs["time"] == t] for t in (obs["time"].min(), obs["time"].max()))
    shares = last.groupby("condition", observed=True)["cell_type"].value_counts(normalize=True).unstack("condition")
    grown = np.log(last["condition"].value_counts() / first["condition"].value_counts())
    found = {("fate", str(name)): d for name, d in (shares["treated"] - shares["control"]).items()}
    return {**found, ("mass", ""): grown["treated"] - grown["control"]}


def true_growth(adata: AnnData, row: str) -> dict[tuple[str, str], float]:
    """Differences of growth in each cluster at the cells compared, conditions weighing alike."""
    x = adata.obsm["X_state"]
    state = x @ np.linalg.qr(np.random.default_rng(SPACE).standard_normal([x.shape[1]] * 2))[0].T
    off = pd.Series(_fork.growth(state, _fork.TREATED[row]) - _fork.growth(state, _fork.CONTROL), adata.obs_names)
    means = off.groupby([adata.obs["cell_type"], adata.obs["condition"]], observed=True).mean().unstack().mean(axis=1)
    return {("growth", str(name)): value for name, value in means.items()}


def judged(adata: AnnData, row: str, known: dict[tuple[str, str], float]) -> dict[str, float]:
    """One line of the table, of one seed."""
    table = vgfm_sc.tl.compare(adata, "control", "treated", cluster_key="cell_type").set_index(["effect", "cluster"])
    true = pd.Series({**known, **true_growth(adata, row)}).reindex(table.index)
    off = table["estimate"] - true
    inside = ((table["low"] <= true) & (true <= table["high"]))[true.notna()]
    rate = _fork.GROWTH["fate_a"]
    return {
        **{short: off["growth", name] / rate for short, name in
           (("a", "fate_a"), ("b", "fate_b"), ("progenitor", "progenitor"))},
        "fate": off["fate", "fate_a"],
        "mass": off["mass", ""],
        "covered": inside.mean(),
        "called": (table["pvals_adj"] < 0.05).mean(),
        "width": (table["high"] - table["low"])["growth"].mean(),
    }  # fmt: skip


def main() -> None:
    """Print the table: a line for each treatment, number of samples and evenness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--samples", nargs="+", type=int, default=[2, 3, 6])
    parser.add_argument("--dims", type=int, default=10)
    parser.add_argument("--unequal", action="store_true")
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--each", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"unknown {sorted(unknown)}; there are {ROWS}")
    print(machine())
    for row in args.rows:
        known = truth(row, args.dims)
        for n_samples in args.samples:
            lines = []
            for seed in args.seeds:
                adata = drawn(row, n_samples, seed, args.unequal, args.dims)
                began = time.process_time()
                vgfm_sc.tl.fit(
                    adata, "time", use_rep="X_state", condition_key="condition", sample_key="sample", seed=seed,
                    progress=False, **{"n_models": N_MODELS, "score": False, **changes(args.fit)},
                )  # fmt: skip
                lines.append(judged(adata, row, known) | {"seconds": time.process_time() - began})
                if args.each:
                    print(row, n_samples, seed, " ".join(f"{k} {v:.3f}" for k, v in lines[-1].items()), flush=True)
            mean = pd.DataFrame(lines).mean()
            print(f"{row:<7} {n_samples} " + " ".join(f"{k} {v:.3f}" for k, v in mean.items()), flush=True)


if __name__ == "__main__":
    main()
