"""Fates, growth and populations of the bistable process under stochastic dynamics, against the truth.

    python tests/benchmarks/bistable.py
    python tests/benchmarks/bistable.py --dims 10 --seeds 0

``fate_r``: correlation with the true probability to end in the right well, over the cells before the last time, of the
run with the noise of the process; ``fate_r_flow`` of the run without. ``growth_r``: of growth with the truth. Published
(cells of all times, 10-D / 50-D): UPFI .99 / .98, unbalanced OT flow matching .95 / .93, DeepRUOT .77 / .92.

``landscape``: largest distance of the two wells and the saddle of minus the learnt log density at the last time, on the
line through the true wells, from those of the true density, which is solved for on a grid; ``kernel``: that of a kernel
density estimate which knows the two axes. The density is not the
potential: cells have not settled, and births put its saddle at x_1 = -.18. ``drift``: likewise of the points where the
drift of the run with noise is 0, from the wells and the saddle of the potential.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from accuracy import machine
from scipy import sparse
from scipy.interpolate import CubicSpline
from scipy.sparse.linalg import splu
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

import vgfm_sc
from vgfm_sc.datasets import _double_well
from vgfm_sc.datasets._bistable import START_SPREAD

N_STEPS = 800
"""Implicit steps to the true density."""

LINE = np.linspace(-1.5, 1.5, 601)
"""First and second coordinate along the line through the wells."""

BANDWIDTH = 0.2
"""Of the kernel density estimate; .1 and .15 miss the saddle by more."""

WELLS_AND_SADDLE = np.array([-1.0, 0.0, 1.0])


def landmarks(height: np.ndarray) -> np.ndarray:
    """Left well, saddle and right well of ``height`` along `LINE`."""
    left, right = (np.where(side, height, np.inf).argmin() for side in (LINE < -0.3, LINE > 0.3))
    return LINE[[left, left + height[left:right].argmax(), right]]


def true_landscape(noise: float, duration: float) -> np.ndarray:
    """Minus the true log density along `LINE`: the equation of Fokker and Planck with births, on a grid."""
    nodes, x, generator = _double_well._walk(noise)
    widths = np.outer(*map(np.gradient, nodes)).ravel()
    mass = widths * np.exp(-(x**2).sum(axis=1) / (2 * START_SPREAD**2))
    change, h = generator.T + sparse.diags_array(_double_well.division_rate(x[:, 0])), duration / N_STEPS
    solve = splu((sparse.eye_array(len(x)) - h * change).tocsc()).solve
    for _ in range(N_STEPS):
        mass = solve(mass)
    middle = (mass / widths).reshape(_double_well.GRID)[:, _double_well.GRID[1] // 2]
    return -CubicSpline(nodes[0] / np.sqrt(2), np.log(middle))(LINE)


def of_landscape(adata, d: int) -> dict[str, float]:
    """How far the learnt wells and saddle are from the true ones."""
    model, noise = vgfm_sc.get.model(adata), adata.uns["noise"]
    when, line = adata.obs["time"].to_numpy(), np.zeros((len(LINE), d))
    line[:, :2] = LINE[:, None]
    log_density = model.log_density(when.max(), line)
    velocity = model(when.max(), line)[0][:, :2].mean(axis=1)
    drift = velocity + noise**2 / 2 * np.gradient(log_density, LINE) / 2  # along the line two axes grow at once
    two = adata.obsm["X_state"][when == when.max()][:, :2]
    by_kernel = -logsumexp(-cdist(line[:, :2], two, "sqeuclidean") / (2 * BANDWIDTH**2), axis=1)
    fall = -np.concatenate([[0], np.cumsum((drift[1:] + drift[:-1]) / 2 * np.diff(LINE))])
    wanted = landmarks(true_landscape(noise, when.max() - when.min()))
    return {
        "landscape": np.sqrt(2) * np.abs(landmarks(-log_density) - wanted).max(),
        "kernel": np.sqrt(2) * np.abs(landmarks(by_kernel) - wanted).max(),
        "drift": np.sqrt(2) * np.abs(landmarks(fall) - WELLS_AND_SADDLE).max(),
    }


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
    row |= of_landscape(adata, d)
    row["growth_slope"] = np.polyfit(adata.obs["true_growth"], adata.obs["vgfm_growth"], 1)[0]
    return row


def main() -> None:
    """Print a line for each number of dimensions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", nargs="+", type=int, default=[2, 10, 50])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=30)
    args = parser.parse_args()
    print(machine())
    for d in args.dims:
        rows = pd.DataFrame([run(d, seed, args.cells, args.runs) for seed in args.seeds])
        print(f"bistable {d:3d}  " + "  ".join(f"{k} {v:.4f}" for k, v in rows.mean().items()), flush=True)


if __name__ == "__main__":
    main()
