"""How often the truth lies within one and two standard deviations, for growth and for fates of an ensemble.

    python tests/benchmarks/intervals.py
    python tests/benchmarks/intervals.py --data toggle --models 6 --seeds 0 --fit match_steps=1500 fit_steps=0

``spread``: of the models, ``vgfm_growth_sd`` and ``vgfm_fate_sd``. ``error``: the error bar, ``vgfm_growth_error`` and
``vgfm_fate_error``. Of each the shares of the cells within one and two standard deviations, of which 68% and 95% would
be right, and its median. ``off``: median of how far the model itself is from the truth. Fates are those of the cells
before the last time: in branching, where every cell goes one way for certain, by the flow; of the bistable process by
runs with its noise, for which the truth is a probability. ``unsure`` are fates between .02 and .98. Counts are given as
totals, so that the level of growth does not vary with them, unless ``--counts`` leaves them to chance.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from accuracy import machine
from anndata import AnnData

import vgfm_sc

UNSURE = 0.02
"""Least probability of both fates."""


def toggle(seed: int) -> tuple[AnnData, str, str, str]:
    """Data, representation, clusters of the end and the one that is asked for."""
    adata = vgfm_sc.datasets.toggle_switch(seed=seed)
    adata.obs["true"] = (adata.obs["branch"] == "active").astype(float)
    return adata, "X_genes", "branch", "active"


def branching(seed: int, **settings: Any) -> tuple[AnnData, str, str, str]:
    """As `toggle`."""
    adata = vgfm_sc.datasets.branching(seed=seed, **settings)
    adata.obs["true"] = (adata.obs["true_fate"] == "fate_a").astype(float)
    return adata, "X_state", "cell_type", "fate_a"


def bistable(seed: int, n_dims: int = 10) -> tuple[AnnData, str, str, str]:
    """As `toggle`."""
    adata = vgfm_sc.datasets.bistable(n_cells=500, n_dims=n_dims, seed=seed)
    adata.obs["true"] = adata.obs["true_fate"]
    return adata, "X_state", "well", "right"


DATA: dict[str, Callable[[int], tuple[AnnData, str, str, str]]] = {
    "toggle": toggle,
    "branching": branching,
    "bistable": bistable,
    "branching2": partial(branching, n_dims=2),
    "branching30": partial(branching, n_dims=30),
    "few": partial(branching, n_cells=100),
    "uneven": partial(branching, times=(0.0, 0.5, 1.0, 3.0)),
    "bistable2": partial(bistable, n_dims=2),
}
"""``few`` has a fifth of the cells of ``branching``, and ``uneven`` other times."""


def coverage(found: np.ndarray, true: np.ndarray, **bars: np.ndarray) -> str:
    """Shares within one and two standard deviations, and medians."""
    off = np.abs(found - true)
    said = [
        f"{name} {(off <= sd).mean():.2f} {(off <= 2 * sd).mean():.2f}  median {np.median(sd):.4f}"
        for name, sd in bars.items()
    ]
    return "  ".join([f"off {np.median(off):.4f}", *said]) if len(found) else "none"


def run(name: str, seed: int, n_models: int, known: bool, fit: dict[str, Any]) -> None:
    """One ensemble, and a line for growth, for fates and for unsure fates."""
    adata, use_rep, clusters, asked = DATA[name](seed)
    mass = adata.obs["time"].value_counts().to_dict() if known else "counts"
    noise = adata.uns.get("noise", 0.0)
    settings = {"n_models": n_models, "score": noise > 0, **fit}
    vgfm_sc.tl.fit(adata, "time", use_rep=use_rep, mass=mass, seed=seed, progress=False, **settings)
    vgfm_sc.tl.growth_error(adata)
    said, factor = f"{name:11s} seed {seed} ", adata.uns["vgfm"]["growth_error"]["factor"]
    growth, sd, error = (adata.obs[f"vgfm_growth{what}"].to_numpy(float) for what in ("", "_sd", "_error"))
    of_growth = coverage(growth, adata.obs["true_growth"].to_numpy(), spread=sd, error=error)
    print(said, "growth ", of_growth, f" factor {factor:.2f}", flush=True)
    vgfm_sc.tl.fate(adata, clusters, noise=noise, descendants=False)
    early = (adata.obs["time"] < adata.obs["time"].max()).to_numpy()
    fate, sd, error = (adata.obsm[f"vgfm_fate{end}"][asked].to_numpy(float)[early] for end in ("", "_sd", "_error"))
    true = adata.obs["true"].to_numpy()[early]
    print(said, "fates  ", coverage(fate, true, spread=sd, error=error), flush=True)
    unsure = (fate > UNSURE) & (fate < 1 - UNSURE)
    of_unsure = coverage(fate[unsure], true[unsure], spread=sd[unsure], error=error[unsure])
    print(said, "unsure ", of_unsure, f" of {unsure.mean():.2f} of the cells", flush=True)


def main() -> None:
    """Print three lines for each ensemble."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--counts", action="store_true", help="leave the totals to the counts")
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE", help="arguments of tl.fit")
    args = parser.parse_args()
    fit = {name: ast.literal_eval(value) for name, value in (given.split("=", 1) for given in args.fit)}
    print(machine())
    for name in args.data:
        for seed in args.seeds:
            run(name, seed, args.models, not args.counts, fit)


if __name__ == "__main__":
    main()
