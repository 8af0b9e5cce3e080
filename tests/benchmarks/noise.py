"""Populations of runs with noise against those of the flow: the score must keep them as they are.

    python tests/benchmarks/noise.py
    python tests/benchmarks/noise.py toggle gaussian50 --seeds 0

Noise is given as a share of the data's spread (standard deviation per axis) per square root of the mean interval.
Backward runs start from where the flow has taken the first cells, at the mass they have there. ``excess``: largest
energy distance, over the times after the start, between run and flow, less its floor (95% of what chance makes of it
among as many cells), as a share of what cells standing still leave; below 0 no difference can be told. ``spread``: the
total variance of the run over that of the flow; ``within``: the same within three groups of cells (k-means of the
flow's), each where it is farthest from 1.
"""

from __future__ import annotations

import argparse
import re
import time

import numpy as np
import unseen
from accuracy import changes, machine
from anndata import AnnData
from cases import CASES, gaussian
from scipy.cluster.vq import kmeans2, vq

import vgfm_sc
from vgfm_sc.core.dynamics import chance
from vgfm_sc.core.reading.distances import (
    _mean_distance,
    effective_number,
    energy_distance,
    energy_floor,
    total_variance,
)

NAMES = ["toggle", "gene", "dyngen", "mouse", "gaussian2", "gaussian10", "gaussian50", "branching10", "bistable10"]
NOISE = (0.1, 0.3, 1.0)
N_GROUPS = 3
STEP = 0.05
"""Longest step, as a share of a mean interval."""


def data(name: str, seed: int) -> AnnData:
    """Cells with ``obsm["X_rep"]``."""
    kind, d = re.fullmatch(r"([a-z]+)(\d*)", name).groups()
    if kind == "branching":
        return unseen.branching(int(d), seed)
    if kind == "bistable":
        adata = vgfm_sc.datasets.bistable(n_dims=int(d), n_cells=250, seed=seed)
        adata.obsm["X_rep"] = adata.obsm["X_state"]
        return adata
    case = gaussian(seed, n_dims=int(d)) if kind == "gaussian" else CASES[kind](seed)
    case.adata.obs["time"] = case.adata.obs[case.time_key]
    case.adata.obsm["X_rep"] = case.adata.obsm[case.use_rep]
    return case.adata


def within(x: np.ndarray, m: np.ndarray, centres: np.ndarray) -> float:
    """Total variance within groups, those of the nearest of ``centres``."""
    group, total = vq(x, centres)[0], 0.0
    for k in range(len(centres)):
        here = group == k
        total += m[here].sum() * total_variance(x[here], m[here]) if here.sum() > 1 else 0.0
    return total / m.sum()


def compare(flow: tuple, run: tuple) -> tuple[float, float, float]:
    """Excess of energy, and ratios of variance in all and within groups, each at the time where it is farthest off."""
    rng, excess, ratio, inside = np.random.default_rng(0), [], [], []
    for x, m, y, w in zip(*(part[1:] for part in (*flow, *run)), strict=True):
        some = rng.choice(len(x), int(effective_number(m)), replace=False, p=m / m.sum())  # as if all weighed the same
        floor = energy_floor(x[some], w, rng)
        still = energy_distance(flow[0][0], x[some], flow[1][0])
        excess.append((between(x, m, y, w) - floor) / still)
        ratio.append(total_variance(y, w) / total_variance(x, m))
        centres, _ = kmeans2(x, N_GROUPS, seed=0, minit="++")
        inside.append(within(y, w, centres) / within(x, m, centres))
    farthest = (values[int(np.argmax(np.abs(np.log(values))))] for values in (ratio, inside))
    return max(excess), *farthest


def between(x: np.ndarray, m: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """Unbiased energy distance between two weighted samples."""
    return 2 * _mean_distance(x, m, y, w) - _mean_distance(x, m) - _mean_distance(y, w)


def rows(name: str, seed: int, fit: dict) -> None:
    """Print a line for each amount of noise and direction."""
    adata = data(name, seed)
    vgfm_sc.tl.fit(adata, "time", use_rep="X_rep", seed=seed, progress=False, **fit)
    model, when = vgfm_sc.get.model(adata), adata.obs["time"].to_numpy()
    points, x = np.unique(when), np.asarray(adata.obsm["X_rep"], dtype=float)
    spread = np.sqrt(x.var(axis=0).mean())
    positions, mass = model.simulate(x[when == points[0]], points, tol=1e-4)
    for share in NOISE:
        noise = share * spread / np.sqrt(np.diff(points).mean())
        for label, order in (("forward", slice(None)), ("backward", slice(None, None, -1))):
            flow, began = (positions[order], mass[order]), time.perf_counter()
            try:
                found = chance.follow(
                    model, flow[0][0], points[order], noise=noise, branching=False, step=STEP, seed=seed
                )
            except ValueError as error:
                print(f"{name:12s} seed {seed} noise {share:.1f} {label:8s} {error}", flush=True)
                continue
            run, seconds = (found.positions.astype(float), found.mass * flow[1][0]), time.perf_counter() - began
            excess, ratio, inside = compare(flow, run)
            print(
                f"{name:12s} seed {seed} noise {share:.1f} {label:8s} excess {excess:7.4f}  spread {ratio:.3f}  "
                f"within {inside:.3f}  seconds {seconds:.1f}",
                flush=True,
            )


def main() -> None:
    """All rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=NAMES, metavar="DATA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    print(machine())
    for name in args.data:
        for seed in args.seeds:
            rows(name, seed, changes(args.fit))


if __name__ == "__main__":
    main()
