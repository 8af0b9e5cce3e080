"""Populations on cells that a fit has not seen: spread, energy distance, displacement.

    python tests/benchmarks/unseen.py                          # the whole table
    python tests/benchmarks/unseen.py gaussian30 eb30 --seeds 0

``gaussianD``: the mixture in D dimensions, against the true dynamics. ``ebD``, ``reprogramming30``: real cells, a third
of each time point left out. ``branchingD``: against a fresh draw of the same process. Spread is total variance over
that of the unseen cells (of the mixture: within each component, over the true one). ``energy``: unbiased energy
distance to unseen cells, less that of the cells of the fit (of the mixture: of the true dynamics, absolute), as a share
of what cells standing still leave. Means over seeds stand in the table; ``--each`` prints every one.
"""

from __future__ import annotations

import argparse
import re
import time

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
from accuracy import changes, machine
from anndata import AnnData
from cases import SHARED, gaussian
from scipy.spatial.distance import cdist

import vgfm_sc
from vgfm_sc.core.reading.distances import energy_distance, total_variance
from vgfm_sc.datasets._gaussian_mixture import VARIANCE

NAMES = [
    *(f"gaussian{d}" for d in (10, 30, 50, 100)),
    "eb30",
    "eb100",
    "reprogramming30",
    *(f"branching{d}" for d in (10, 30, 50)),
]
LEFT_OUT = 1 / 3
FRESH = 100
"""Added to a seed: the draw that a fit is judged on."""


def fitted(adata: AnnData, seed: int, method: vgfm_sc.methods.Method, fit: dict, **given) -> tuple:
    """Positions and masses of the first cells at all time points, and the seconds of the fit."""
    began = time.perf_counter()
    vgfm_sc.tl.fit(adata, "time", use_rep="X_rep", method=method, seed=seed, progress=False, **given, **fit)
    seconds = time.perf_counter() - began
    when = adata.obs["time"].to_numpy()
    points = np.unique(when)
    positions, mass = vgfm_sc.get.model(adata).simulate(adata.obsm["X_rep"][when == points[0]], points, tol=1e-4)
    return positions, mass, seconds


def of_mixture(d: int, seed: int, method: vgfm_sc.methods.Method, fit: dict) -> dict[str, float]:
    """Against the true dynamics and a fresh draw."""
    case, fresh = gaussian(seed, n_dims=d), gaussian(seed + FRESH, n_dims=d).adata
    case.adata.obsm["X_rep"] = case.adata.obsm["X_gaussian"]
    positions, mass, seconds = fitted(case.adata, seed, method, fit)
    x, m = positions[-1], mass[-1]
    nearest = cdist(x, case.truth[2]).argmin(axis=1)
    parts = [nearest == k for k in range(3)]
    row = {
        f"spread{k}": total_variance(x[part], m[part]) / d / VARIANCE for k, part in enumerate(parts) if part.sum() > 1
    }
    row["displacement"] = np.mean([abs(np.average(x[part, 0], weights=m[part])) for part in parts[:2] if part.any()])
    unseen = fresh.obsm["X_gaussian"][fresh.obs["time"] == 1]
    moved, weight, _ = case.truth
    row["energy"] = energy_distance(x, unseen, m)
    row["energy_excess"] = row["energy"] - energy_distance(moved, unseen, weight)
    growth, truth = case.adata.obs["vgfm_growth"].to_numpy(dtype=float), case.growth
    row["growth_r"] = np.corrcoef(growth, truth)[0, 1]
    row["growth_slope"] = np.polyfit(truth, growth, 1)[0]
    row["seconds"] = seconds
    return row


def against(unseen: list[np.ndarray], seen: list[np.ndarray], positions: np.ndarray, mass: np.ndarray) -> dict:
    """Spread at each later time, and energy above that of the cells of the fit over what standing still leaves."""
    row = {}
    for k in range(1, len(unseen)):
        row[f"spread{k}"] = total_variance(positions[k], mass[k]) / total_variance(unseen[k])
        ours, theirs, still = (
            energy_distance(positions[k], unseen[k], mass[k]),
            energy_distance(seen[k], unseen[k]),
            energy_distance(positions[0], unseen[k]),
        )
        row[f"energy{k}"] = (ours - theirs) / still
    row["energy"] = np.mean([row[f"energy{k}"] for k in range(1, len(unseen))])
    return row


def split(adata: AnnData, seed: int) -> tuple[AnnData, AnnData]:
    """The cells of a fit, and those left out of each time point."""
    rng = np.random.default_rng(seed)
    out = np.zeros(adata.n_obs, dtype=bool)
    for t in adata.obs["time"].unique():
        rows = np.flatnonzero(adata.obs["time"] == t)
        out[rng.permutation(rows)[: round(LEFT_OUT * len(rows))]] = True
    return adata[~out].copy(), adata[out].copy()


def by_time(adata: AnnData) -> list[np.ndarray]:
    """Snapshots."""
    when = adata.obs["time"].to_numpy()
    return [np.asarray(adata.obsm["X_rep"][when == t]) for t in np.unique(when)]


def embryoid(d: int) -> AnnData:
    """Embryoid bodies in their first ``d`` components."""
    held = np.load(SHARED / "embryoid_body_pca100.npz")
    obs = pd.DataFrame({"time": held["time"].astype(float)}, index=[f"cell{k}" for k in range(len(held["time"]))])
    return AnnData(np.zeros((len(obs), 1), np.float32), obs=obs, obsm={"X_rep": held["x"][:, :d].astype(float)})


def reprogramming(d: int) -> AnnData:
    """Reprogramming cells in ``d`` components."""
    adata = anndata.read_h5ad(SHARED / "reprogramming_250cells.h5ad")
    sc.pp.pca(adata, n_comps=d, random_state=0)
    obs = pd.DataFrame({"time": adata.obs["day"].astype(float)})
    return AnnData(np.zeros((len(obs), 1), np.float32), obs=obs, obsm={"X_rep": adata.obsm["X_pca"]})


def branching(d: int, seed: int) -> AnnData:
    """A draw of one process in ``d`` dimensions."""
    adata = vgfm_sc.datasets.branching(n_dims=d, seed=seed, space_seed=0)
    adata.obsm["X_rep"] = adata.obsm["X_state"]
    return adata


def run(name: str, seed: int, method: vgfm_sc.methods.Method, fit: dict) -> dict[str, float]:
    """One fit, judged."""
    kind, d = re.fullmatch(r"([a-z]+)(\d+)", name).groups()
    if kind == "gaussian":
        return of_mixture(int(d), seed, method, fit)
    given = {"mass": "equal"} if kind == "eb" else {}
    if kind == "branching":
        seen, unseen = branching(int(d), seed), branching(int(d), seed + FRESH)
    else:
        seen, unseen = split({"eb": embryoid, "reprogramming": reprogramming}[kind](int(d)), seed)
    positions, mass, seconds = fitted(seen, seed, method, fit, **given)
    row = against(by_time(unseen), by_time(seen), positions, mass) | {"seconds": seconds}
    if kind == "branching":
        growth, truth = seen.obs["vgfm_growth"].to_numpy(dtype=float), seen.obs["true_growth"].to_numpy()
        row["growth_r"] = np.corrcoef(growth, truth)[0, 1]
        row["growth_slope"] = np.polyfit(truth, growth, 1)[0]
    return row


def main() -> None:
    """Print the table, a line for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=NAMES, metavar="DATA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--method", default="vgfm", choices=vgfm_sc.methods.__all__[1:])
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--each", action="store_true")
    args = parser.parse_args()
    unknown = set(args.data) - set(NAMES)
    if unknown:
        parser.error(f"unknown {sorted(unknown)}; there are {NAMES}")
    print(machine())
    fit, settings = changes(args.fit), changes(args.set)
    for name in args.data:
        method = getattr(vgfm_sc.methods, args.method)(**settings)
        rows = pd.DataFrame([run(name, seed, method, fit) for seed in args.seeds])
        for row in [*(rows.to_dict("records") if args.each else []), rows.mean().to_dict()]:
            print(f"{name:<16} " + " ".join(f"{key} {value:.4f}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
