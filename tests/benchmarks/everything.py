"""All methods on all data in one table: cells and times not shown, growth, fates, cells of the fit, time and memory.

    python tests/benchmarks/everything.py rows.jsonl                     # make all rows that are missing in the file
    python tests/benchmarks/everything.py rows.jsonl gene eb30 --seeds 0 --methods vgfm wfr
    python tests/benchmarks/everything.py rows.jsonl --show              # print the table, fit nothing

A row is added to the file as soon as it is made: break it off when you like, and the same call goes on from there.
Every run has a process and a thread of its own. Its seconds are those of the processor, which depend less on what else
the machine does, and its memory is what the fit adds to the peak of a process that has done a fit of two steps.

``cells``: fitted to all cells, and judged by them and by a fresh draw of the simulator. ``unseen``: where there is no
simulator, fitted to two thirds of the cells of each time point, and judged by the rest. ``times``: each time between
others left out, with few steps, as in `vgfm_sc.tl.choose`. Columns of the table:

``W1``, ``RME``: means over times, of the cells of the fit. ``left``: energy distance to unseen cells less that of the
cells of the fit, as a share of what cells standing still leave; mean over times. ``spread``: total variance over that
of unseen cells, at the time where it is farthest from 1. ``W1 out``, ``energy out``: of times left out, as shares of
linear interpolation's. ``r``, ``slope``: of growth on the truth. ``fates``: of the branching process, the share of
cells whose likelier fate is the true one; of mouse, the correlation with the fates of clones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import unseen
from accuracy import machine, scored, simulated
from anndata import AnnData
from cases import CASES, SHARED, Case, by_time, gaussian, toggle
from clones import judged

import vgfm_sc
from vgfm_sc import methods

METHODS: dict[str, Callable[[float], methods.Method]] = {
    "vgfm": lambda sigma: methods.vgfm(),
    "otcfm": lambda sigma: methods.otcfm(),
    "bridge": lambda sigma: methods.bridge(sigma=sigma),
    "wfr": lambda sigma: methods.wfr(),
}
"""Functions of `noise`, which those without it ignore."""

SIGMA = 0.1
"""That of DeepRUOT and UDSB, on their data; on others a share of the spread."""

AS_PUBLISHED = ("gene", "dyngen", "toggle")

FEW = {"match_steps": 800, "fit_steps": 0, "score": False, "max_cells": 2000}
"""For times left out."""


class Data(NamedTuple):
    """``draw``: the case of a seed; ``fresh``: unseen cells of a seed, where a simulator has them.

    ``fates``: a score of fates after a fit. ``two_times``: none lies between others.
    """

    draw: Callable[[int], Case]
    fresh: Callable[[int], Case] | None = None
    fates: Callable[[Case], float] | None = None
    mass: str = "counts"
    two_times: bool = False


def branching(seed: int) -> Case:
    """Draws of one process in ten dimensions."""
    adata = unseen.branching(10, seed)
    return Case(adata, "time", "X_rep", adata.obs["true_growth"].to_numpy())


def real(load: Callable[[int], AnnData], n_dims: int, seed: int) -> Case:
    """Real cells; ``seed`` changes nothing."""
    del seed
    return Case(load(n_dims), "time", "X_rep")


def right(case: Case) -> float:
    """Share of cells whose likelier fate is the true one."""
    vgfm_sc.tl.fate(case.adata, "cell_type")
    likelier = case.adata.obsm["vgfm_fate"]["fate_a"].to_numpy() > 0.5
    return (likelier == (case.adata.obs["true_fate"] == "fate_a").to_numpy()).mean()


def as_clones(case: Case) -> float:
    """Correlation of fates with those of clones."""
    return judged(case, pd.read_csv(SHARED / "mouse_clonal_fates.csv"))[0]["r"]


def mixture(n_dims: int) -> Data:
    """The Gaussian mixture."""
    return Data(*2 * (partial(gaussian, n_dims=n_dims),), two_times=True)


DATA = {
    "gene": Data(CASES["gene"], toggle),
    "dyngen": Data(CASES["dyngen"]),
    "mouse": Data(CASES["mouse"], fates=as_clones),
    "branching10": Data(branching, branching, right),
    "eb30": Data(partial(real, unseen.embryoid, 30), mass="equal"),
    "gaussian10": mixture(10),
    "gaussian30": mixture(30),
    "toggle": Data(toggle, toggle),
    "reprogramming30": Data(partial(real, unseen.reprogramming, 30)),
    "gaussian1000": mixture(1000),
}

PUBLISHED = {
    "gene": {
        "VGFM, published": {"W1": 0.046, "RME": 0.006},
        "VGFM, released code": {"W1": 0.0532, "RME": 0.0031},
        "DeepRUOT, published": {"W1": 0.068, "RME": 0.016},
        "TIGON, published": {"W1": 0.099, "RME": 0.065},
        "UDSB, published": {"W1": 0.665, "RME": 0.192},
        "OT-CFM, published": {"W1": 0.302},
        "OT-MFM, published": {"W1": 0.311},
        "WFR-FM, released code": {"W1": 0.0193, "RME": 0.0013, "r": 0.9916, "CPU s": 780},
    },
    "dyngen": {
        "VGFM, published": {"W1": 0.420, "RME": 0.053},
        "VGFM, released code": {"W1": 0.549, "RME": 0.086},
        "DeepRUOT, published": {"W1": 0.474, "RME": 0.199},
        "TIGON, published": {"W1": 1.029, "RME": 0.542},
        "UDSB, published": {"W1": 1.914, "RME": 0.658},
        "OT-CFM, published": {"W1": 3.926},
        "OT-MFM, published": {"W1": 3.976},
        "WFR-FM, released code": {"W1": 0.130, "RME": 0.0037},
    },
    "mouse": {
        "VGFM, released code": {"W1": 0.115, "RME": 0.041},
        "WOT, published": {"fates": 0.394},
        "FateID, published": {"fates": 0.378},
        "PBA, published": {"fates": 0.358},
        "PRESCIENT, published": {"fates": 0.391},
    },
    "gaussian1000": {
        "VGFM, published": {"W1": 3.010, "RME": 0.037},
        "OT-CFM, published": {"W1": 10.126},
        "OT-MFM, published": {"W1": 11.008},
    },
}
"""By data and method; where each number comes from is told on the page of benchmarks."""

DIGITS = {"W1": 4, "RME": 4, "left": 4, "spread": 2, "W1 out": 2, "energy out": 2, "r": 3, "slope": 2, "fates": 3}
DIGITS |= {"CPU s": 0, "MB": 0}
"""The columns of scores, and how many digits they are shown with."""


def noise(name: str, case: Case) -> float:
    """For methods that take a ``sigma``: per axis and square root of a unit of time."""
    if name in AS_PUBLISHED:
        return SIGMA
    points = np.unique(case.adata.obs[case.time_key])
    return SIGMA * np.sqrt(case.adata.obsm[case.use_rep].var(axis=0).mean() / np.diff(points).mean())


def fitted(name: str, case: Case, method: str, seed: int) -> dict[str, float]:
    """Fit, and what it took."""
    chosen = METHODS[method](noise(name, case))
    tiny = vgfm_sc.datasets.toggle_switch(n_per_branch=20)
    vgfm_sc.tl.fit(tiny, "time", use_rep="X_genes", match_steps=2, fit_steps=2, progress=False)  # loads what is needed
    peak, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    vgfm_sc.tl.fit(
        case.adata, case.time_key, use_rep=case.use_rep, method=chosen, mass=DATA[name].mass, seed=seed, progress=False
    )
    seconds, last = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"CPU s": seconds, "MB": (last - peak) / 1024}


def unseen_scores(case: Case, fresh: Case) -> dict[str, float]:
    """Of simulated cells against those of ``fresh``."""
    positions, mass, seen = simulated(case)
    found = unseen.against(by_time(fresh), seen, positions, mass)
    spread = [value for column, value in found.items() if column.startswith("spread")]
    return {"left": found["energy"], "spread": max(spread, key=lambda value: abs(np.log(value)))}


def on_cells(name: str, chosen: list[str], seed: int) -> list[dict[str, float]]:
    """Fitted to all cells."""
    data, (method,) = DATA[name], chosen
    case = data.draw(seed)
    row = fitted(name, case, method, seed)
    scores = scored(case)
    columns = {"W1": "w1", "RME": "rme", "r": "growth_r", "slope": "growth_slope"}
    row |= {column: scores[key] for column, key in columns.items() if key in scores}
    if data.fates:
        row["fates"] = data.fates(case)
    return [row | (unseen_scores(case, data.fresh(seed + unseen.FRESH)) if data.fresh else {})]


def on_unseen(name: str, chosen: list[str], seed: int) -> list[dict[str, float]]:
    """Fitted to two thirds of the cells."""
    whole, (method,) = DATA[name].draw(seed), chosen
    case, rest = (whole._replace(adata=part) for part in unseen.split(whole.adata, seed))
    fitted(name, case, method, seed)
    return [unseen_scores(case, rest)]


def on_times(name: str, chosen: list[str], seed: int) -> list[dict[str, float]]:
    """Fitted without each of the times, all methods in one pass."""
    case = DATA[name].draw(seed)
    compared = {method: METHODS[method](noise(name, case)) for method in chosen}
    given = {"use_rep": case.use_rep, "mass": DATA[name].mass, "seed": seed, "progress": False, **FEW}
    found = vgfm_sc.tl.holdout(case.adata, case.time_key, methods=compared, **given)
    mean = found.groupby("prediction")[["w1", "energy"]].mean()
    share = (mean / mean.loc["linear"]).rename(columns={"w1": "W1 out", "energy": "energy out"})
    return share.loc[chosen].to_dict("records")


PARTS = {"cells": on_cells, "unseen": on_unseen, "times": on_times}


def read(path: Path) -> pd.DataFrame:
    """The rows made so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return pd.DataFrame([json.loads(line) for line in lines], columns=None if lines else KEYS)


KEYS = ["data", "method", "seed", "part"]


def missing(held: pd.DataFrame, data: list[str], chosen: list[str], seeds: list[int]) -> Iterator[tuple]:
    """Runs that are still to be made: part, data, methods and seed."""
    have = set(held[KEYS].itertuples(index=False, name=None))
    for seed in seeds:
        for part in PARTS:
            for name in data:
                if (part == "unseen" and DATA[name].fresh) or (part == "times" and DATA[name].two_times):
                    continue
                left = [method for method in chosen if (name, method, seed, part) not in have]
                for some in [left] if part == "times" else [[method] for method in left]:
                    if some:
                        yield part, name, some, seed


def made(part: str, name: str, chosen: list[str], seed: int) -> list[dict]:
    """Rows of one process, with what they are of and what made them."""
    rows, took = PARTS[part](name, chosen, seed), time.process_time()
    keys = [dict(zip(KEYS, (name, method, seed, part), strict=True)) for method in chosen]
    return [key | row | {"CPU s in all": took, "machine": machine()} for key, row in zip(keys, rows, strict=True)]


def run(path: Path, part: str, name: str, chosen: list[str], seed: int) -> None:
    """Make rows in a process of its own, and add them to the file."""
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found = pool.submit(made, part, name, chosen, seed).result()
    except Exception as error:  # noqa: BLE001  # the other runs do not depend on it
        print(f"{name} {part} {chosen} seed {seed}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return
    with path.open("a") as file:
        for row in found:
            file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def show(held: pd.DataFrame) -> None:
    """Print means over seeds, with the published rows, as a table of Markdown."""
    print("\n".join(held["machine"].unique()))
    columns = [column for column in DIGITS if column in held]
    means = held.groupby(["data", "method"])[columns].mean()
    seeds = held.groupby(["data", "method", "part"])["seed"].nunique().groupby(["data", "method"]).agg(["min", "max"])
    print("| data | method | seeds | " + " | ".join(columns) + " |\n" + "|---" * (3 + len(columns)) + "|")
    for name in (name for name in DATA if name in means.index):
        rows = {f"`{method}`": means.loc[(name, method)] for method in METHODS if (name, method) in means.index}
        for label, row in (rows | PUBLISHED.get(name, {})).items():
            runs = "" if label not in rows else " to ".join(str(n) for n in sorted(set(seeds.loc[(name, label[1:-1])])))
            values = [f"{row[key]:.{DIGITS[key]}f}" if pd.notna(row.get(key)) else "" for key in columns]
            print(f"| {name} | {label} | {runs} | " + " | ".join(values) + " |")


def main() -> None:
    """Make what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("data", nargs="*", default=list(DATA), metavar="DATA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.data) - set(DATA):
        parser.error(f"unknown {sorted(unknown)}; there are {list(DATA)}")
    held = read(args.file)
    if args.show:
        return show(held[held["data"].isin(args.data) & held["method"].isin(args.methods)])
    os.environ["OMP_NUM_THREADS"] = "1"
    for part, name, chosen, seed in missing(held, args.data, args.methods, args.seeds):
        run(args.file, part, name, chosen, seed)


if __name__ == "__main__":
    main()
