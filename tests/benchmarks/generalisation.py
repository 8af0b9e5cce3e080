"""What accuracy is worth on cells and at times that a fit has not seen; called by `accuracy.py`.

``fresh``: fitted on one draw of the toggle switch, scored on eight others. ``cells``: fitted on four fifths of the
cells of each time point, scored on the rest. In both the score is W1 to the unseen cells, as a ratio to that of the
cells of the fit. ``times``: a time point is left out and predicted.
"""

from __future__ import annotations

import numpy as np
from cases import CASES, Case, by_time, toggle

import vgfm_sc
from vgfm_sc.core.reading.distances import wasserstein1

FRESH_SEEDS = range(101, 109)
HELD_OUT_SHARE = 0.2
LEFT_OUT = {"gene": 2.0, "dyngen": 2.0, "mouse": 1.0}

Rows = dict[str, list[dict[str, float]]]


def fitted(case: Case, method: str, seed: int, fit: dict, settings: dict) -> tuple[np.ndarray, np.ndarray]:
    """Simulated positions and masses at all time points, from the cells of the first."""
    chosen = getattr(vgfm_sc.methods, method)(**settings)
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, method=chosen, seed=seed, progress=False, **fit)
    points = np.unique(case.adata.obs[case.time_key].to_numpy())
    return vgfm_sc.get.model(case.adata).simulate(by_time(case)[0], points, tol=1e-4)


def to_unseen(case: Case, positions: np.ndarray, mass: np.ndarray, unseen: list[list[np.ndarray]]) -> dict[str, float]:
    """Mean W1 to unseen snapshots of the simulated cells, of the cells of the fit, and of as many of these.

    There are as many simulated cells as the first snapshot has, often fewer than a later one: what that alone costs
    shows in the third.
    """
    ours, theirs, as_many = [], [], []
    rng = np.random.default_rng(0)
    for k, cells in enumerate(by_time(case)[1:], start=1):
        for snapshots in unseen:
            ours.append(wasserstein1(positions[k], snapshots[k], mass[k]))
            theirs.append(wasserstein1(cells, snapshots[k]))
            some = rng.permutation(len(cells))[: len(positions[k])]
            as_many.append(wasserstein1(cells[some], snapshots[k]))
    return {
        "w1_simulated": np.mean(ours),
        "w1_of_the_fit": np.mean(theirs),
        "w1_of_as_many": np.mean(as_many),
        "ratio": np.mean(ours) / np.mean(theirs),
    }


def fresh(method: str, seeds: list[int], fit: dict, settings: dict) -> Rows:
    """Draws of the same process with other seeds."""
    others = [toggle(seed) for seed in FRESH_SEEDS]
    rows = []
    for seed in seeds:
        case = toggle(seed)
        positions, mass = fitted(case, method, seed, fit, settings)
        row = to_unseen(case, positions, mass, [by_time(other) for other in others])
        counts = [len(x) for x in by_time(case)]
        row["rme"] = np.mean([abs(m.sum() / n - 1) for m, n in zip(mass[1:], counts[1:], strict=True)])
        growth = case.adata.obs["vgfm_growth"].to_numpy(dtype=float)
        row["growth_r"] = np.corrcoef(growth, case.growth)[0, 1]
        row["growth_slope"] = np.polyfit(case.growth, growth, 1)[0]
        rows.append(row)
    return {"fresh": rows}


def cells(method: str, seeds: list[int], fit: dict, settings: dict) -> Rows:
    """Cells held out of each data set."""
    table: Rows = {}
    for name in ("gene", "dyngen", "mouse", "branching", "gaussian"):
        for seed in seeds:
            case = CASES[name](seed)
            out = np.random.default_rng(seed).random(case.adata.n_obs) < HELD_OUT_SHARE
            unseen = case._replace(adata=case.adata[out].copy())
            case = case._replace(adata=case.adata[~out].copy())
            row = to_unseen(case, *fitted(case, method, seed, fit, settings), [by_time(unseen)])
            table.setdefault(f"cells {name}", []).append(row)
    return table


def times(method: str, seeds: list[int], fit: dict, settings: dict) -> Rows:
    """Time points left out; the baselines stand beside, `otcfm` among them."""
    if method == "otcfm":
        return {}
    chosen = getattr(vgfm_sc.methods, method)(**settings)
    table: Rows = {}
    for name, left_out in LEFT_OUT.items():
        for seed in seeds:
            case = CASES[name](seed)
            found = vgfm_sc.tl.holdout(
                case.adata, case.time_key, use_rep=case.use_rep, times=left_out, method=chosen, seed=seed,
                progress=False, **fit,
            )  # fmt: skip
            row = dict(zip(found["prediction"], found["w1"], strict=True))
            table.setdefault(f"times {name}", []).append(row)
    return table


ROWS = {"fresh": fresh, "cells": cells, "times": times}
