"""Fates and origins in a branching process against the truth, and the time they take.

    python tests/benchmarks/fates.py                    # the tables; with --each every draw
    python tests/benchmarks/fates.py --cells 100000     # the time

Every cell of the process goes one way for certain. ``right``: cells of all times whose likelier fate is theirs.
``worst bin``: of the tenths of probability between .2 and .8 with 20 cells or more, how far the mean is from the share
that goes to fate a. ``share``: mean probability at the first time less the true share of fate a. All are of cells, or
with ``descendants=True`` of the mass that they reach under the true dynamics.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import deque
from typing import NamedTuple
from unittest import mock

import numpy as np
from accuracy import machine
from anndata import AnnData

import vgfm_sc
from vgfm_sc.core.reading import fates
from vgfm_sc.datasets import _branching

COURSES = {"default": (0.0, 1.0, 2.0, 3.0), "uneven": (0.0, 1.0, 1.5, 2.0, 3.0)}
"""Times."""

SEEDS = (0, 1, 2)

SURROUNDINGS = (1, 3, 10, 30, 100)

FEWEST = 20
"""Cells of a tenth of probability that is judged by itself."""


class Truth(NamedTuple):
    """For the cells before the last time, each of shape ``(n,)``: which they are, fate a, and mass at the end."""

    early: np.ndarray
    of_a: np.ndarray
    mass: np.ndarray


def drawn(n_dims: int, seed: int, times: tuple[float, ...], n_clones: int | None = None) -> tuple[AnnData, Truth]:
    """A draw, and what becomes of its cells."""
    states, velocity = deque(maxlen=1), _branching.velocity
    with mock.patch.object(
        _branching, "velocity", lambda state, *process: states.append(state) or velocity(state, *process)
    ):
        adata = vgfm_sc.datasets.branching(n_dims=n_dims, seed=seed, times=times, n_clones=n_clones)
    at = adata.obs["time"].to_numpy()
    early, state = at < at.max(), states[0]  # what the true velocity was asked for last: the cells, before rotation
    mass = np.empty(len(at))
    for t in np.unique(at):
        mass[at == t] = np.exp(_branching._follow(state[at == t], at.max() - t)[1])
    return adata, Truth(early, (adata.obs["true_fate"] == "fate_a").to_numpy()[early], mass[early])


def scores(p: np.ndarray, truth: Truth, weight: np.ndarray) -> dict[str, float]:
    """Of probabilities of fate a in cells before the last time, each of which counts as its ``weight``."""
    of, bins = tenth(p), []
    off = np.bincount(of, weight * (p - truth.of_a), 10)
    for k in range(2, 8):
        if (of == k).sum() >= FEWEST:
            bins.append(abs(off[k]) / weight[of == k].sum())
    row = {"Brier": np.average((p - truth.of_a) ** 2, weights=weight), "ECE": np.abs(off).sum() / weight.sum()}
    return row | {"worst bin": max(bins, default=0.0)}


def tenth(p: np.ndarray) -> np.ndarray:
    """Which tenth of probability each is in."""
    return np.minimum((10 * p).astype(int), 9)


def show(name: str, row: dict[str, float]) -> None:
    """One line of a table."""
    print(f"{name:22s}", "  ".join(f"{column} {value:.3f}" for column, value in row.items()), flush=True)


def judged(adata: AnnData, truth: Truth) -> tuple[dict[str, float], np.ndarray]:
    """Scores of a fit that is done, and probabilities of fate a in the cells before the last time."""
    growth, known = (adata.obs[name].to_numpy(float) for name in ("vgfm_growth", "true_growth"))
    row = {"growth r": np.corrcoef(growth, known)[0, 1], "slope": np.polyfit(known, growth, 1)[0]}
    vgfm_sc.tl.fate(adata, "true_fate", direction="backward")
    of_a, at = (adata.obs["true_fate"] == "fate_a").to_numpy(), adata.obs["time"].to_numpy()
    row["origins"] = ((adata.obsm["vgfm_origin"]["fate_a"].to_numpy() > 0.5) == of_a)[at > at.min()].mean()
    start = at[truth.early] == at.min()
    for descendants in (True, False):
        vgfm_sc.tl.fate(adata, "cell_type", descendants=descendants)
        p = adata.obsm["vgfm_fate"]["fate_a"].to_numpy(float)
        weight = truth.mass if descendants else np.ones(len(truth.mass))
        found = {"right": ((p > 0.5) == of_a).mean(), **scores(p[truth.early], truth, weight)}
        found["share"] = np.average((p[truth.early] - truth.of_a)[start], weights=weight[start])
        row |= {f"{name} of descendants" if descendants else name: value for name, value in found.items()}
    return row, p[truth.early]


def accuracy(each: bool) -> None:
    """The table of courses, and calibration and sizes of surroundings in ten dimensions."""
    for name, n_dims in (("default", 2), ("default", 30), ("uneven", 10), ("default", 10)):
        rows, fitted = [], []
        for seed in SEEDS:
            adata, truth = drawn(n_dims, seed, COURSES[name])
            vgfm_sc.tl.fit(adata, "time", use_rep="X_state", progress=False)
            row, p = judged(adata, truth)
            rows.append(row)
            fitted.append((adata, truth, p))
            if each:
                show(f"    seed {seed}", row)
        show(f"{name}, {n_dims} d", {column: np.mean([row[column] for row in rows]) for column in rows[0]})

    together = Truth(*(np.concatenate(parts) for parts in zip(*(truth for _, truth, _ in fitted), strict=True)))
    calibration(np.concatenate([p for *_, p in fitted]), together)
    for size in SURROUNDINGS:
        with mock.patch.object(fates, "SURROUNDINGS", size):
            found = [judged(adata, truth)[1] for adata, truth, _ in fitted]
        show(f"surroundings {size}", scores(np.concatenate(found), together, np.ones(len(together.mass))))


def calibration(p: np.ndarray, truth: Truth) -> None:
    """What becomes of the cells in each tenth of predicted probability."""
    print("predicted     cells  mean  of cells  of descendants")
    for k in range(10):
        here = tenth(p) == k
        cells = truth.of_a[here]
        shares = f"{p[here].mean():.2f}  {cells.mean():8.2f}  {np.average(cells, weights=truth.mass[here]):14.2f}"
        print(f"{k / 10:.1f} to {(k + 1) / 10:.1f}  {here.sum():7d}  {shares}", flush=True)


def speed(n_cells: int) -> None:
    """Seconds for about so many cells in all, by a fit to a few of them."""
    adata = vgfm_sc.datasets.branching(n_cells=round(n_cells / 7.3), n_dims=50)
    some = adata[np.random.default_rng(0).permutation(adata.n_obs)[:3000]].copy()
    vgfm_sc.tl.fit(some, "time", use_rep="X_state", progress=False)
    adata.uns["vgfm"] = some.uns["vgfm"]
    for direction in ("forward", "backward"):
        began = time.perf_counter()
        vgfm_sc.tl.fate(adata, "true_fate", direction=direction)
        seconds, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{direction:9s} {adata.n_obs} cells, 50 dimensions   {seconds:6.1f} s   peak {peak:.2f} GB")


def main() -> None:
    """Print the tables or the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int)
    parser.add_argument("--each", action="store_true")
    args = parser.parse_args()
    print(machine())
    accuracy(args.each) if args.cells is None else speed(args.cells)


if __name__ == "__main__":
    main()
