"""Fates of blood progenitors against the clones that lineage barcodes tell of.

    python tests/benchmarks/clones.py
    python tests/benchmarks/clones.py --methods vgfm otcfm --seeds 0

Fitted on all cells of the mouse data, two coordinates a cell. Ends are the two arms of the last snapshot, by k-means; a
fate is the share of neutrophils among the two. Truth is that share in the later cells of a cell's clone, for 705 cells
of the first time point. ``early``: those marked as early by the authors of the data. ``AUROC``: of clones of one fate
only. ``ECE``: expected calibration error over tenths of predicted probability. ``descendants``: as in `tl.fate`.
``neighbours``: the mean truth of the 20 nearest other cells with a barcode, which no prediction from position beats by
much.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from accuracy import machine
from cases import CASES, SHARED, Case, branches
from scipy.stats import rankdata

import vgfm_sc
from vgfm_sc.core.neighbours import nearest

NEIGHBOURS = 20


def auroc(p: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive one has the higher ``p``."""
    n = positive.sum()
    return (rankdata(p)[positive].sum() - n * (n + 1) / 2) / (n * (len(p) - n))


def scores(p: np.ndarray, clones: pd.DataFrame) -> dict[str, float]:
    """Of probabilities of the neutrophil fate."""
    share = (clones["neutrophil"] / (clones["neutrophil"] + clones["monocyte"])).to_numpy()
    early, tenth = clones["early"].to_numpy(), np.minimum((10 * p).astype(int), 9)
    pure = (share == 0) | (share == 1)
    return {
        "r": np.corrcoef(p, share)[0, 1],
        "r_early": np.corrcoef(p[early], share[early])[0, 1],
        "AUROC": auroc(p[pure], share[pure] == 1),
        "mean": p.mean(),
        "mean_true": share.mean(),
        "ECE": np.abs(np.bincount(tenth, p - share)).sum() / len(p),
    }


def run(method: str, seed: int, clones: pd.DataFrame) -> list[dict[str, float]]:
    """One fit, and its scores with and without descendants."""
    case = CASES["mouse"](seed)
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, method=method, seed=seed, progress=False)
    return judged(case, clones)


def judged(case: Case, clones: pd.DataFrame) -> list[dict[str, float]]:
    """Scores of a fit that is done, with and without descendants."""
    adata, last = case.adata, case.adata.obs[case.time_key] == case.adata.obs[case.time_key].max()
    of_arm = branches(case._replace(n_branches=2))(adata.obsm[case.use_rep])
    adata.obs["arm"] = pd.Categorical(np.where(last, of_arm.astype(str), None))
    rows = []
    for descendants in (True, False):
        vgfm_sc.tl.fate(adata, "arm", descendants=descendants)
        found = adata.obsm["vgfm_fate"].to_numpy(float)[clones["row"]]
        both = [scores(found[:, arm], clones) for arm in (0, 1)]
        rows.append(max(both, key=lambda row: row["r"]))  # which arm is which, the clones say
    return rows


def of_neighbours(clones: pd.DataFrame) -> np.ndarray:
    """Mean share of neutrophils in the clones of the nearest other cells."""
    case = CASES["mouse"](0)
    x = case.adata.obsm[case.use_rep][clones["row"]]
    share = (clones["neutrophil"] / (clones["neutrophil"] + clones["monocyte"])).to_numpy()
    return share[nearest(x, x, NEIGHBOURS + 1)[1][:, 1:]].mean(axis=1)


def main() -> None:
    """Print a line for each method, with and without descendants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=["vgfm", "otcfm"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    print(machine())
    clones = pd.read_csv(SHARED / "mouse_clonal_fates.csv")
    found = scores(of_neighbours(clones), clones)
    print(f"{'neighbours':20s}  " + "  ".join(f"{k} {v:.3f}" for k, v in found.items()))
    for method in args.methods:
        tables = zip(*(run(method, seed, clones) for seed in args.seeds), strict=True)
        for name, rows in zip(("descendants", "cells"), tables, strict=True):
            mean = pd.DataFrame(rows).mean()
            print(f"{method:8s}{name:12s}  " + "  ".join(f"{k} {v:.3f}" for k, v in mean.items()), flush=True)


if __name__ == "__main__":
    main()
