"""Velocity and growth from a time course: fit, score, simulate, draw.

python tutorials/quickstart.py                                    # a simulated toggle switch with known growth
python tutorials/quickstart.py DATA.h5ad --time-key day           # your own cells, on obsm["X_pca"]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np

import vgfm_sc


def main() -> None:
    """Read the arguments and do the main job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("h5ad", nargs="?", type=Path, help="time course; without it a simulated one is used")
    parser.add_argument("--time-key", help="column of obs with the sampling times (default: day, for your own data)")
    parser.add_argument("--use-rep", help="key of obsm (default: X_pca, for your own data)")
    parser.add_argument("--figure", type=Path, default=Path("quickstart.png"))
    args = parser.parse_args()

    if args.h5ad is None:
        adata, time_key, use_rep = vgfm_sc.datasets.toggle_switch(seed=0), "time", "X_genes"
    else:
        adata, time_key, use_rep = ad.read_h5ad(args.h5ad), "day", "X_pca"
    time_key, use_rep = args.time_key or time_key, args.use_rep or use_rep

    vgfm_sc.tl.fit(adata, time_key, use_rep=use_rep)
    vgfm_sc.tl.simulate(adata)

    table = vgfm_sc.tl.evaluate(adata)
    print(table[["time", "energy", "energy_floor", "spread", "rme"]].round(4).to_string(index=False))
    if "true_growth" in adata.obs:
        correlation = np.corrcoef(adata.obs["vgfm_growth"], adata.obs["true_growth"])[0, 1]
        print(f"growth correlation with truth: {correlation:.3f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    vgfm_sc.pl.trajectories(adata, ax=left, title="trajectories")
    vgfm_sc.pl.growth(adata, ax=right, title="growth")
    figure.savefig(args.figure, dpi=150)
    plt.close(figure)
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
