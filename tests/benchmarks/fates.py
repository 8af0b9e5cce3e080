"""Fates and origins in a branching process against the truth, and the time they take.

    python tests/benchmarks/fates.py                    # the tables
    python tests/benchmarks/fates.py --cells 100000     # the time

Every cell of the process goes one way for certain. *Observed* is the share of cells that go to fate a, or of the mass
that they reach under the true dynamics: the share of their descendants.
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

DRAWS = [(500, 10, 0), (500, 10, 1), (500, 10, 2), (300, 10, 0), (1000, 10, 0), (500, 2, 0), (500, 30, 0)]
"""Cells at the first time, dimensions, seed; what follows the first table is of the first three together."""

SURROUNDINGS = (1, 3, 10, 30, 100)


class Truth(NamedTuple):
    """For the cells before the last time, each of shape ``(n,)``: which they are, fate a, and mass at the end."""

    early: np.ndarray
    of_a: np.ndarray
    mass: np.ndarray


def drawn(n_cells: int, n_dims: int, seed: int) -> tuple[AnnData, Truth]:
    """A draw, and what becomes of its cells."""
    states, velocity = deque(maxlen=1), _branching.velocity
    with mock.patch.object(_branching, "velocity", lambda state: states.append(state) or velocity(state)):
        adata = vgfm_sc.datasets.branching(n_cells=n_cells, n_dims=n_dims, seed=seed)
    at = adata.obs["time"].to_numpy()
    early, state = at < at.max(), states[0]  # what the true velocity was asked for last: the cells, before rotation
    mass = np.empty(len(at))
    for t in np.unique(at):
        mass[at == t] = np.exp(_branching._follow(state[at == t], at.max() - t)[1])
    return adata, Truth(early, (adata.obs["true_fate"] == "fate_a").to_numpy()[early], mass[early])


def by_couplings(adata: AnnData) -> np.ndarray:
    """Probability of fate a by the plans alone, ``(n_obs,)``."""
    at, p = adata.obs["time"].to_numpy(), (adata.obs["cell_type"] == "fate_a").to_numpy().astype(float)
    arrive = np.column_stack([p, 1 - p])[at == at.max()]
    for (t, _), plan in sorted(vgfm_sc.get.couplings(adata).items(), reverse=True):
        arrive = plan.astype(float) @ arrive
        p[at == t] = arrive[:, 0] / arrive.sum(axis=1)
    return p


def scores(p: np.ndarray, truth: Truth) -> dict[str, float]:
    """Of probabilities of fate a in cells before the last time; errors per cell and per descendant."""
    row = {"early": ((p > 0.5) == truth.of_a).mean()}
    for name, weight in (("cells", np.ones(len(p))), ("descendants", truth.mass)):
        row[f"Brier {name}"] = np.average((p - truth.of_a) ** 2, weights=weight)
        row[f"ECE {name}"] = np.abs(np.bincount(tenth(p), weight * (p - truth.of_a))).sum() / weight.sum()
    return row


def tenth(p: np.ndarray) -> np.ndarray:
    """Which tenth of probability each is in."""
    return np.minimum((10 * p).astype(int), 9)


def show(name: str, row: dict[str, float]) -> None:
    """One line of a table."""
    print(f"{name:22s}", "  ".join(f"{column} {value:.3f}" for column, value in row.items()), flush=True)


def judged(name: str, adata: AnnData, truth: Truth, **arguments: str) -> None:
    """Fit, and three lines of the first table: fates by the flow and by the couplings, origins."""
    vgfm_sc.tl.fit(adata, "time", use_rep="X_state", progress=False, **arguments)
    vgfm_sc.tl.fate(adata, "cell_type")
    vgfm_sc.tl.fate(adata, "true_fate", direction="backward")
    p, origin = (adata.obsm[f"vgfm_{way}"]["fate_a"].to_numpy(float) for way in ("fate", "origin"))
    of_a, at = (adata.obs["true_fate"] == "fate_a").to_numpy(), adata.obs["time"].to_numpy()
    right = (p > 0.5) == of_a
    row = {"all": right.mean(), "progenitors": right[adata.obs["cell_type"] == "progenitor"].mean()}
    row |= {f"t={t:g}": right[at == t].mean() for t in np.unique(at)[:-1]}
    show(name, row | scores(p[truth.early], truth))
    show("    by couplings", scores(by_couplings(adata)[truth.early], truth))
    show("    origins", {"later": ((origin > 0.5) == of_a)[at > at.min()].mean()})


def accuracy() -> None:
    """The table of draws; calibration and sizes of surroundings on the pooled ones."""
    pooled = []
    for draw in DRAWS:
        adata, truth = drawn(*draw)
        judged("{} cells, {} d, seed {}".format(*draw), adata, truth)
        if len(pooled) < 3:
            pooled.append((adata, truth))
    judged("    and a growth prior", *drawn(*DRAWS[0]), growth_prior="true_growth")

    together = Truth(*(np.concatenate(parts) for parts in zip(*(truth for _, truth in pooled), strict=True)))
    for size in SURROUNDINGS:
        with mock.patch.object(fates, "SURROUNDINGS", size):
            for adata, _ in pooled:
                vgfm_sc.tl.fate(adata, "cell_type")
        p = np.concatenate([adata.obsm["vgfm_fate"]["fate_a"].to_numpy(float)[truth.early] for adata, truth in pooled])
        show(f"surroundings {size}", scores(p, together))
        if size == fates.SURROUNDINGS:
            calibration(p, together)


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
    args = parser.parse_args()
    print(machine())
    accuracy() if args.cells is None else speed(args.cells)


if __name__ == "__main__":
    main()
