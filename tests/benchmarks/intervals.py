"""How often the truth lies within one and two standard deviations of an ensemble, for growth and for fates.

    python tests/benchmarks/intervals.py
    python tests/benchmarks/intervals.py --data toggle --models 6 --seeds 0

``1 sd``, ``2 sd``: shares of the cells within; 68% and 95% would be right. ``off``, ``sd``: medians of how far the
model itself is from the truth, and of the standard deviation. Fates are those of the cells before the last time: of the
toggle switch and of branching, where every cell goes one way for certain, by the flow; of the bistable process by runs
with its noise, for which the truth is a probability. Counts are given as totals, so that the level of growth does not
vary with them, unless ``--counts`` leaves them to chance.
"""

from __future__ import annotations

import argparse

import numpy as np
from accuracy import machine
from anndata import AnnData

import vgfm_sc


def toggle(seed: int) -> tuple[AnnData, str, str, str]:
    """Data, representation, clusters of the end and the one that is asked for."""
    adata = vgfm_sc.datasets.toggle_switch(seed=seed)
    adata.obs["true"] = (adata.obs["branch"] == "active").astype(float)
    return adata, "X_genes", "branch", "active"


def branching(seed: int) -> tuple[AnnData, str, str, str]:
    """As `toggle`."""
    adata = vgfm_sc.datasets.branching(seed=seed)
    adata.obs["true"] = (adata.obs["true_fate"] == "fate_a").astype(float)
    return adata, "X_state", "cell_type", "fate_a"


def bistable(seed: int) -> tuple[AnnData, str, str, str]:
    """As `toggle`."""
    adata = vgfm_sc.datasets.bistable(n_dims=10, seed=seed)
    adata.obs["true"] = adata.obs["true_fate"]
    return adata, "X_state", "well", "right"


DATA = {"toggle": toggle, "branching": branching, "bistable": bistable}


def coverage(found: np.ndarray, sd: np.ndarray, true: np.ndarray) -> str:
    """Shares within one and two standard deviations, and medians."""
    off = np.abs(found - true)
    within = [(off <= k * sd).mean() for k in (1, 2)]
    return f"1 sd {within[0]:.2f}  2 sd {within[1]:.2f}  off {np.median(off):.4f}  sd {np.median(sd):.4f}"


def run(name: str, seed: int, n_models: int, known: bool) -> None:
    """One ensemble, and a line for growth and for fates."""
    adata, use_rep, clusters, asked = DATA[name](seed)
    mass = adata.obs["time"].value_counts().to_dict() if known else "counts"
    noise = adata.uns.get("noise", 0.0)
    vgfm_sc.tl.fit(adata, "time", use_rep=use_rep, mass=mass, n_models=n_models, seed=seed, progress=False)
    said = f"{name:10s}seed {seed}  {'known totals' if known else 'counts':13s}"
    sd = adata.obs["vgfm_growth_sd"].to_numpy(float)
    print(said, "growth ", coverage(adata.obs["vgfm_growth"].to_numpy(float), sd, adata.obs["true_growth"]), flush=True)
    vgfm_sc.tl.fate(adata, clusters, noise=noise, descendants=False)
    early = (adata.obs["time"] < adata.obs["time"].max()).to_numpy()
    found, sd = (adata.obsm[f"vgfm_fate{end}"][asked].to_numpy(float)[early] for end in ("", "_sd"))
    print(said, "fates  ", coverage(found, sd, adata.obs["true"].to_numpy()[early]), flush=True)


def main() -> None:
    """Print two lines for each ensemble."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--counts", action="store_true", help="leave the totals to the counts")
    args = parser.parse_args()
    print(machine())
    for name in args.data:
        for seed in args.seeds:
            run(name, seed, args.models, not args.counts)


if __name__ == "__main__":
    main()
