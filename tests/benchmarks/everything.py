"""All methods on all data in one table: cells and times not shown, growth, fates, cells of the fit, time and memory.

    python tests/benchmarks/everything.py rows.jsonl                     # make all rows that are missing in the file
    python tests/benchmarks/everything.py rows.jsonl gene eb30 --seeds 0 --methods vgfm wfr
    python tests/benchmarks/everything.py rows.jsonl --show              # print the table, fit nothing

A row is added to the file as soon as it is made: break it off when you like, and the same call goes on from there.
Every run has a process and a thread of its own. Its seconds are those of the processor, which depend less on what else
the machine does, and its memory is what the fit adds to the peak of a process that has done a fit of two steps.

``cells``: fitted to all cells, and judged by them and by a fresh draw of the simulator. ``times``: each time between
others left out, with few steps, as in `vgfm_sc.tl.choose`. ``unseen``: where there is no simulator, fitted to two
thirds of the cells of each time point, and judged by the rest. Columns of the table:

``W1``, ``RME``: means over times, of the cells of the fit. ``left``: energy distance to unseen cells less that of the
cells of the fit, as a share of what cells standing still leave; mean over times. ``spread``: total variance over that
of unseen cells, at the time where it is farthest from 1. ``W1 out``, ``energy out``: of times left out, as shares of
linear interpolation's. ``growth_r``, ``growth_slope``: of growth on the truth. ``fates``: of the branching process, the
share of cells whose likelier fate is the true one; of mouse, the correlation with the fates of clones.
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
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import unseen
from accuracy import machine, simulated
from cases import Case, by_time
from collection import DATA
from inputs import against
from published import PUBLISHED

import vgfm_sc
from vgfm_sc import methods
from vgfm_sc.core.reading.distances import relative_mass_error, wasserstein1

METHODS: dict[str, Callable[[float], methods.Method]] = {
    "vgfm": lambda sigma: methods.vgfm(),
    "otcfm": lambda sigma: methods.otcfm(),
    "bridge": lambda sigma: methods.bridge(sigma=sigma),
    "wfr": lambda sigma: methods.wfr(),
    "manifold": lambda sigma: methods.manifold(),
    "otmfm": lambda sigma: methods.manifold(balanced=True),
}
"""Functions of `noise`, which those without it ignore."""

SIGMA = 0.1
"""That of DeepRUOT and UDSB, on their data; on others a share of the spread."""

AS_PUBLISHED = ("gene", "dyngen", "toggle")

FEW = {"match_steps": 800, "fit_steps": 0, "score": False, "max_cells": 2000}
"""For times left out."""


DIGITS = {"W1": 4, "RME": 4, "left": 4, "spread": 2, "W1 out": 2, "energy out": 2, "growth_r": 3}
DIGITS |= {"growth_slope": 2, "fates": 3, "CPU s": 0, "MB": 0}
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


def scores(case: Case, rest: Case | None) -> dict[str, float]:
    """Of simulated cells, against those of the fit and, if there are any, those of ``rest``, which it has not seen."""
    positions, mass, seen = simulated(case)
    later = range(1, len(seen))
    row = {
        "W1": np.mean([wasserstein1(positions[k], seen[k], mass[k]) for k in later]),
        "RME": np.mean([relative_mass_error(mass[k].sum(), len(seen[k])) for k in later]),
    }
    if rest is not None:
        found = unseen.against(by_time(rest), seen, positions, mass)
        row["left"] = found["energy"]
        row["spread"] = max((found[f"spread{k}"] for k in later), key=lambda value: abs(np.log(value)))
    return row


def parted(case: Case, seed: int) -> tuple[Case, Case]:
    """The cells of a fit, and those left out of it."""
    some, rest = (case._replace(adata=part) for part in unseen.split(case.adata, seed))
    return some, rest


def on_cells(name: str, chosen: list[str], seed: int) -> list[dict[str, float]]:
    """The fit of the table."""
    data, (method,) = DATA[name], chosen
    case, rest = data.draw(seed), data.fresh(seed + unseen.FRESH) if data.fresh else None
    if rest is None and not data.whole:
        case, rest = parted(case, seed)
    row = fitted(name, case, method, seed) | scores(case, rest)
    if case.growth is not None:
        row |= against(case.adata.obs["vgfm_growth"].to_numpy(dtype=float), case.growth)
    return [row | ({"fates": data.fates(case)} if data.fates else {})]


def on_unseen(name: str, chosen: list[str], seed: int) -> list[dict[str, float]]:
    """A fit to two thirds of the cells, for the scores on the others."""
    (case, rest), (method,) = parted(DATA[name].draw(seed), seed), chosen
    fitted(name, case, method, seed)
    found = scores(case, rest)
    return [{column: found[column] for column in ("left", "spread")}]


def on_times(name: str, chosen: list[str], seed: int) -> list[dict[str, float]]:
    """Fitted without each of the times, all methods in one pass."""
    case = DATA[name].draw(seed)
    compared = {method: METHODS[method](noise(name, case)) for method in chosen}
    given = {"use_rep": case.use_rep, "mass": DATA[name].mass, "seed": seed, "progress": False, **FEW}
    found = vgfm_sc.tl.holdout(case.adata, case.time_key, methods=compared, **given)
    mean = found.groupby("prediction")[["w1", "energy"]].mean()
    share = (mean / mean.loc["linear"]).rename(columns={"w1": "W1 out", "energy": "energy out"})
    return share.loc[chosen].to_dict("records")


PARTS = {"cells": on_cells, "times": on_times, "unseen": on_unseen}


def read(path: Path) -> pd.DataFrame:
    """The rows made so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return pd.DataFrame([json.loads(line) for line in lines], columns=None if lines else KEYS)


KEYS = ["data", "method", "seed", "part"]


def missing(held: pd.DataFrame, parts: list[str], names: list[str], chosen: list[str], seeds: list[int]) -> Iterator:
    """Runs that are still to be made: part, data, methods and seed."""
    have = set(held[KEYS].itertuples(index=False, name=None))
    for seed in seeds:
        for part in parts:
            for name in names:
                data = DATA[name]
                if (part == "unseen" and (data.fresh or not data.whole)) or (part == "times" and data.two_times):
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


def run(path: Path, part: str, name: str, chosen: list[str], seed: int) -> bool:
    """Make rows in a process of its own, and add them to the file; whether that went well."""
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found = pool.submit(made, part, name, chosen, seed).result()
    except Exception as error:  # noqa: BLE001  # the other runs do not depend on it
        print(f"{name} {part} {chosen} seed {seed}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return False
    with path.open("a") as file:
        for row in found:
            file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    return True


def show(held: pd.DataFrame) -> None:
    """Print means over seeds, with the published rows, as a table of Markdown."""
    print("\n".join(held["machine"].unique()))
    columns = [column for column in DIGITS if column in held]
    by_method = held.groupby(["data", "method"])
    means, seeds = by_method[columns].mean(), by_method["seed"].unique()
    print("| data | method | seeds | " + " | ".join(columns) + " |\n" + "|---" * (3 + len(columns)) + "|")
    for name in (name for name in DATA if name in means.index):
        ours = {f"`{method}`": (name, method) for method in METHODS if (name, method) in means.index}
        rows = {label: means.loc[key] for label, key in ours.items()} | PUBLISHED.get(name, {})
        for label, row in rows.items():
            drawn = ", ".join(str(seed) for seed in sorted(seeds[ours[label]])) if label in ours else ""
            values = [f"{row[key]:.{DIGITS[key]}f}" if pd.notna(row.get(key)) else "" for key in columns]
            print(f"| {name} | {label} | {drawn} | " + " | ".join(values) + " |")


def main() -> None:
    """Make what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("data", nargs="*", default=list(DATA), metavar="DATA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.data) - set(DATA):
        parser.error(f"unknown {sorted(unknown)}; there are {list(DATA)}")
    held = read(args.file)
    if args.show and held.empty:
        parser.error(f"{args.file} has no rows yet; call without --show to make them")
    if args.show:
        return show(held[held["data"].isin(args.data) & held["method"].isin(args.methods)])
    os.environ["OMP_NUM_THREADS"] = "1"
    went_well = [run(args.file, *job) for job in missing(held, args.parts, args.data, args.methods, args.seeds)]
    if not all(went_well):
        sys.exit(f"{went_well.count(False)} of {len(went_well)} runs failed; the same call tries them again.")


if __name__ == "__main__":
    main()
