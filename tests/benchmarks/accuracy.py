"""Accuracy of the defaults, one setting for all data: W1 and RME on the cells of the fit, growth against truth.

    python tests/benchmarks/accuracy.py gene dyngen mouse --seeds 0 1 2 --method vgfm

Arguments of `vgfm_sc.tl.fit` and of the method can be changed for an ablation: --fit match_steps=500 --set rho=3.
"""

from __future__ import annotations

import argparse
import ast
import platform
import time

import numpy as np
import pandas as pd
import torch
from cases import CASES, Case

import vgfm_sc


def run(case: Case, method: str, seed: int, fit: dict, settings: dict) -> dict[str, float]:
    """Fit with the defaults, or with the changes given, and score by the protocol of the documentation."""
    began = time.perf_counter()
    chosen = getattr(vgfm_sc.methods, method)(**settings)
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, method=chosen, seed=seed, progress=False, **fit)
    seconds = time.perf_counter() - began
    scores = vgfm_sc.tl.evaluate(case.adata, max_cells=10_000)
    row = {"w1": scores["w1"].mean(), "rme": scores["rme"].mean()}
    growth = case.adata.obs["vgfm_growth"].to_numpy(dtype=float)
    if case.growth is not None:
        row["growth_r"] = np.corrcoef(growth, case.growth)[0, 1]
        row["growth_slope"] = np.polyfit(case.growth, growth, 1)[0]
    else:
        row["growth_sd"] = growth.std()
    return row | {"seconds": seconds}


def changes(pairs: list[str]) -> dict:
    """``["rho=3"]`` -> ``{"rho": 3}``."""
    return {name: ast.literal_eval(value) for name, value in (pair.split("=") for pair in pairs)}


def main() -> None:
    """Print a table, a row for each data set: the mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", choices=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--method", default="vgfm", choices=vgfm_sc.methods.__all__[1:])
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    print(
        f"vgfm_sc {vgfm_sc.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"cuda {torch.cuda.is_available()}, Python {platform.python_version()}"
    )
    for name in args.data:
        rows = [run(CASES[name](), args.method, seed, changes(args.fit), changes(args.set)) for seed in args.seeds]
        mean = pd.DataFrame(rows).mean()
        values = "  ".join(f"{column} {value:.4f}" for column, value in mean.items())
        print(f"{name:10s} {args.method:6s} seeds {len(rows)}  {values}", flush=True)


if __name__ == "__main__":
    main()
