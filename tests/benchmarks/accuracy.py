"""Accuracy of the defaults, one setting for all data, beside balanced flow matching in the same run.

    python tests/benchmarks/accuracy.py                                   # the whole table
    python tests/benchmarks/accuracy.py gene dyngen --seeds 0 --methods vgfm
    python tests/benchmarks/accuracy.py gene --methods bridge --set sigma=0.1

Rows named after a data set are scored on the cells of the fit; `everything.py` scores on cells and times not shown,
and `inputs.py` says what gene space and growth priors are worth. Arguments of `vgfm_sc.tl.fit` and of the method can be
changed for an ablation: --fit match_steps=500 --set rho=3.
"""

from __future__ import annotations

import argparse
import ast
import platform
import time

import inputs
import numpy as np
import pandas as pd
import torch
from cases import CASES, Case, branches, by_time

import vgfm_sc
from vgfm_sc.core.reading.distances import wasserstein1

MAX_CELLS = 10_000
"""Of exact transport when scoring: none of the data sets has more at one time point."""


def run(case: Case, method: str, seed: int, fit: dict, settings: dict) -> dict[str, float]:
    """Fit with the defaults, or with the changes given, and score by the protocol of the documentation."""
    began = time.perf_counter()
    chosen = getattr(vgfm_sc.methods, method)(**settings)
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, method=chosen, seed=seed, progress=False, **fit)
    seconds = time.perf_counter() - began
    scores = vgfm_sc.tl.evaluate(case.adata, max_cells=MAX_CELLS)
    row = {"w1": scores["w1"].mean(), "rme": scores["rme"].mean()}
    growth = case.adata.obs["vgfm_growth"].to_numpy(dtype=float)
    if case.growth is not None:
        row["growth_r"] = np.corrcoef(growth, case.growth)[0, 1]
        row["growth_slope"] = np.polyfit(case.growth, growth, 1)[0]
    elif case.n_branches:
        row |= branch_masses(case, growth)
    if case.truth is not None:
        row |= against_truth(case)
    return row | {"seconds": seconds}


def simulated(case: Case) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Positions and masses of the cells of the first time point at all, and the observed cells."""
    points, snapshots = np.unique(case.adata.obs[case.time_key]), by_time(case)
    positions, mass = vgfm_sc.get.model(case.adata).simulate(snapshots[0], points, tol=1e-4)
    return positions, mass, snapshots


def branch_masses(case: Case, growth: np.ndarray) -> dict[str, float]:
    """Largest error of a branch's share of the mass at any time point, and mean growth by branch."""
    positions, mass, snapshots = simulated(case)
    nearest = branches(case)
    off = []
    for x, m, seen in zip(positions[1:], mass[1:], snapshots[1:], strict=True):
        predicted = np.bincount(nearest(x), weights=m / m.sum(), minlength=case.n_branches)
        observed = np.bincount(nearest(seen), minlength=case.n_branches) / len(seen)
        off.append(np.abs(predicted - observed).max())
    of = nearest(case.adata.obsm[case.use_rep])
    by_branch = {f"growth_{k}": growth[of == k].mean() for k in range(case.n_branches)}
    return {"branch_share_error": max(off), **by_branch}


def against_truth(case: Case) -> dict[str, float]:
    """W1 as a ratio to that of the true dynamics; mass and variance of each true component at the end."""
    positions, mass, snapshots = simulated(case)
    x, m = positions[-1], mass[-1]
    true_x, true_mass, centres = case.truth
    of = np.linalg.norm(x[:, None] - centres[None], axis=2).argmin(axis=1)
    row = {"w1_of_truth": wasserstein1(true_x, snapshots[-1], true_mass)}
    row["ratio"] = wasserstein1(x, snapshots[-1], m) / row["w1_of_truth"]
    for k in range(len(centres)):
        here, weight = x[of == k], m[of == k]
        spread = here - np.average(here, axis=0, weights=weight)
        row[f"mass_{k}"] = weight.sum()
        row[f"variance_{k}"] = np.average(spread**2, axis=0, weights=weight).mean()
    return row


def changes(pairs: list[str]) -> dict:
    """``["rho=3"]`` -> ``{"rho": 3}``."""
    return {name: ast.literal_eval(value) for name, value in (pair.split("=") for pair in pairs)}


def show(name: str, method: str, rows: list[dict[str, float]]) -> None:
    """One line: the mean over ``rows``."""
    values = "  ".join(f"{column} {value:.4f}" for column, value in pd.DataFrame(rows).mean().items())
    print(f"{name:14s} {method:8s} runs {len(rows)}  {values}", flush=True)


def machine() -> str:
    """What ran this."""
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"vgfm_sc {vgfm_sc.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, {place}, "
        f"Python {platform.python_version()}"
    )


def main() -> None:
    """Print the table, a line for each data set and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=[*CASES, *inputs.ROWS], metavar="DATA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["vgfm", "otcfm"], choices=vgfm_sc.methods.__all__[1:])
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    unknown = set(args.data) - {*CASES, *inputs.ROWS}
    if unknown:
        parser.error(f"unknown {sorted(unknown)}; there are {[*CASES, *inputs.ROWS]}")
    print(machine())
    fit, settings = changes(args.fit), changes(args.set)
    for name in args.data:
        for method in args.methods:
            if name in CASES:
                show(name, method, [run(CASES[name](seed), method, seed, fit, settings) for seed in args.seeds])
            else:
                for label, rows in inputs.ROWS[name](method, args.seeds, fit, settings).items():
                    show(label, method, rows)


if __name__ == "__main__":
    main()
