"""Conditions in one fit against a fit of each: growth, fates, populations, seconds.

    python tests/benchmarks/conditions.py                     # the whole table
    python tests/benchmarks/conditions.py growth growth5 --seeds 0
    python tests/benchmarks/conditions.py growth --cells 500 --dims 2 --only one

The branching process with a treatment, ten dimensions, 200 control and 200 treated cells at the first time, or as
told. ``growth``: fate a grows twice as fast; ``fate``: .7 in place of .5 of the cells go to fate a; ``none``: nothing
differs. With a 5 behind the name only every fifth treated cell is kept. ``one``: one fit with condition_key; ``two``: a
fit of each;
``alike``: one fit of all cells without conditions, for its seconds.

``a``, ``b``, ``progenitor``: mean growth of treated less that of control cells of the type, less the true difference,
as a share of the growth of fate a in control. ``shift``: how much more of the treated than of the control cells of the
first time go to fate a, less the true difference. ``energy``, ``spread``: against a fresh draw, means over later times,
of control and of treated. ``seconds``: of the processor, by the fits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
from accuracy import changes, machine
from anndata import AnnData

import vgfm_sc
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.reading.distances import energy_distance, spread

CONTROL, TREATED = NAMES = ("control", "treated")
ROWS = ["growth", "fate", "none", "growth5"]
KEPT = 5
"""One treated cell in so many is kept in rows with that number."""

FRESH = 100
"""Added to a seed: the draw that a fit is judged on."""

MOST_CELLS = 2000
"""Of a snapshot that distances are taken of."""

GROWTH_A = 0.8


def drawn(row: str, seed: int, **size: int) -> AnnData:
    """Cells of a row of the table."""
    treatment = row.removesuffix(str(KEPT))
    adata = vgfm_sc.datasets.branching(**size, treatment=treatment, seed=seed, space_seed=0)
    if row == treatment:
        return adata
    treated = np.flatnonzero(adata.obs["condition"] == TREATED)
    return adata[np.setdiff1d(np.arange(adata.n_obs), np.delete(treated, np.s_[::KEPT]))].copy()


def fit(adata: AnnData, settings: Mapping, **given) -> float:
    """Fit ``adata`` and tell the seconds."""
    began = time.process_time()
    vgfm_sc.tl.fit(adata, "time", use_rep="X_state", progress=False, **{"score": False, **settings}, **given)
    return time.process_time() - began


def in_one(adata: AnnData, settings: Mapping) -> tuple[AnnData, dict[str, Model], float]:
    """One fit of both conditions, with fates."""
    seconds = fit(adata, settings, condition_key="condition")
    vgfm_sc.tl.fate(adata, "cell_type", descendants=False)
    return adata, {name: vgfm_sc.get.model(adata, condition=name) for name in NAMES}, seconds


def in_two(adata: AnnData, settings: Mapping) -> tuple[AnnData, dict[str, Model], float]:
    """A fit of each condition, with fates; what they write, put together."""
    parts, models, seconds = [], {}, 0.0
    for name in NAMES:
        part = adata[adata.obs["condition"] == name].copy()
        seconds += fit(part, settings)
        vgfm_sc.tl.fate(part, "cell_type", descendants=False)
        parts.append(part)
        models[name] = vgfm_sc.get.model(part)
    both = adata.copy()
    both.obs["vgfm_growth"] = pd.concat([part.obs["vgfm_growth"] for part in parts])[adata.obs_names]
    both.obsm["vgfm_fate"] = pd.concat([part.obsm["vgfm_fate"] for part in parts]).loc[adata.obs_names]
    return both, models, seconds


def judged(adata: AnnData, models: Mapping[str, Model], fresh: AnnData) -> dict[str, float]:
    """Differences between conditions against the true ones, and each population against a fresh draw."""
    obs, row = adata.obs, {}
    means = obs.groupby(["condition", "cell_type"], observed=True)[["vgfm_growth", "true_growth"]].mean()
    off = means.loc[TREATED] - means.loc[CONTROL]
    for short, cell_type in (("a", "fate_a"), ("b", "fate_b"), ("progenitor", "progenitor")):
        row[short] = (off.loc[cell_type, "vgfm_growth"] - off.loc[cell_type, "true_growth"]) / GROWTH_A
    first = (obs["time"] == obs["time"].min()).to_numpy()
    to_a = pd.DataFrame({"found": adata.obsm["vgfm_fate"]["fate_a"], "true": obs["true_fate"] == "fate_a"})[first]
    share = to_a.astype(float).groupby(obs["condition"][first], observed=True).mean()
    row["shift"] = np.diff(share["found"] - share["true"]).item()
    for name, model in models.items():
        rng, times = np.random.default_rng(0), np.unique(fresh.obs["time"])
        start = adata.obsm["X_state"][first & (obs["condition"] == name).to_numpy()]
        positions, mass = model.simulate(start, times, tol=1e-4)
        unseen = [fresh.obsm["X_state"][((fresh.obs["condition"] == name) & (fresh.obs["time"] == t)).to_numpy()]
                  for t in times]  # fmt: skip
        parts = list(zip(positions, [rng.permutation(x)[:MOST_CELLS] for x in unseen], mass, strict=True))[1:]
        row[f"energy_{name}"] = np.mean([energy_distance(*part) for part in parts])
        row[f"spread_{name}"] = np.mean([spread(*part) for part in parts])
    return row


def main() -> None:
    """Print the table, for each row a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=200, help="of each condition at the first time")
    parser.add_argument("--dims", type=int, default=10)
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", choices=["one", "two", "alike"])
    parser.add_argument("--each", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"unknown {sorted(unknown)}; there are {ROWS}")
    print(machine())
    size = {"n_cells": args.cells, "n_dims": args.dims}
    for row in args.rows:
        found: dict[str, list[dict[str, float]]] = {}
        for seed in args.seeds:
            adata, settings = drawn(row, seed, **size), {"seed": seed, **changes(args.fit)}
            fresh = drawn(row.removesuffix(str(KEPT)), seed + FRESH, **size)
            for way, fitted in (("one", in_one), ("two", in_two)):
                if args.only in (None, way):
                    both, models, seconds = fitted(adata.copy(), settings)
                    found.setdefault(way, []).append(judged(both, models, fresh) | {"seconds": seconds})
            if args.only in (None, "alike"):
                found.setdefault("alike", []).append({"seconds": fit(adata, settings)})
        for way, rows in found.items():
            table = pd.DataFrame(rows)
            for line in [*(table.to_dict("records") if args.each else []), table.mean().to_dict()]:
                print(
                    f"{row:<8} {way:<5} " + " ".join(f"{name} {value:.4f}" for name, value in line.items()), flush=True
                )


if __name__ == "__main__":
    main()
