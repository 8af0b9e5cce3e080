"""Fates, growth and populations of the bistable process under stochastic dynamics, against the truth.

    python tests/benchmarks/bistable.py
    python tests/benchmarks/bistable.py --dims 10 --seeds 0

``fate_r``: correlation with the true probability to end in the right well, over the cells before the last time, of the
run with the noise of the process; ``fate_r_flow`` of the run without. ``growth_r``: of growth with the truth. Published
(cells of all times, 10-D / 50-D): UPFI .99 / .98, unbalanced OT flow matching .95 / .93, DeepRUOT .77 / .92.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from accuracy import machine

import vgfm_sc


def run(d: int, seed: int, n_cells: int, n_runs: int) -> dict[str, float]:
    """One draw, fitted and judged."""
    adata = vgfm_sc.datasets.bistable(n_dims=d, n_cells=n_cells, seed=seed)
    began = time.perf_counter()
    vgfm_sc.tl.fit(adata, "time", use_rep="X_state", seed=seed, progress=False)
    row = {"seconds_fit": time.perf_counter() - began}
    when = adata.obs["time"].to_numpy()
    early, truth = when < when.max(), adata.obs["true_fate"].to_numpy()
    began = time.perf_counter()
    for name, noise in (("fate_r", adata.uns["noise"]), ("fate_r_flow", 0.0)):
        vgfm_sc.tl.fate(adata, "well", noise=noise, n_runs=n_runs, descendants=False, seed=seed)
        found = adata.obsm["vgfm_fate"]["right"].to_numpy()
        row[name] = np.corrcoef(found[early], truth[early])[0, 1]
        row[name + "_all"] = np.corrcoef(found, truth)[0, 1]
    row["seconds_fates"] = time.perf_counter() - began
    row["growth_r"] = np.corrcoef(adata.obs["vgfm_growth"], adata.obs["true_growth"])[0, 1]
    row["growth_slope"] = np.polyfit(adata.obs["true_growth"], adata.obs["vgfm_growth"], 1)[0]
    return row


def main() -> None:
    """Print a line for each number of dimensions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", nargs="+", type=int, default=[2, 10, 50])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=250)
    parser.add_argument("--runs", type=int, default=30)
    args = parser.parse_args()
    print(machine())
    for d in args.dims:
        rows = pd.DataFrame([run(d, seed, args.cells, args.runs) for seed in args.seeds])
        print(f"bistable {d:3d}  " + "  ".join(f"{k} {v:.4f}" for k, v in rows.mean().items()), flush=True)


if __name__ == "__main__":
    main()
