"""Long, uneven and sparse time courses with a known truth, judged at the time points and between them.

    python tests/benchmarks/courses.py                        # the whole table
    python tests/benchmarks/courses.py sparse10 --seeds 0 --each

A fit has no argument changed; where numbers of cells are not those of the population, it is given the true totals by
``mass``. ``longD``: the branching process in D dimensions at eleven times. ``windingD``: two groups on a circle, of
which they make a half, at eleven times. At the times 0, 1, 2, 7 and 30: ``slowingD``, the branching process
that slows down as it goes on; ``steadyD``, that passes evenly, so that all of the fork lies in the last interval;
``settlingD``, cells that come to rest, fast along one axis and slowly along the others. ``sparseD``, ``sparserD``:
five times of the branching process of which 30 to 5,000 cells were seen. ``countsD``: as ``sparseD``, with numbers of
cells taken for those of the population. ``allD``: ten uneven intervals of 30 to 5,000 cells. At the times 0, 1, 2 and
3: ``treeD``, three branches of which one dies out; ``leavingD``, the same where cells leave the start one by one.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from accuracy import changes, machine
from anndata import AnnData
from processes import Drawn, Process, branching, settling, tree, winding

import vgfm_sc
from vgfm_sc.core.reading.distances import energy_distance, energy_floor, total_variance

N_CELLS = 500
"""At the first time, where snapshots are as large as their population."""

FRESH = 1000
"""Added to a seed: the draw that a fit is judged on."""

WITHIN = (0.25, 0.5, 0.75)
"""Of an interval, where simulated cells are compared with fresh ones too."""

DENSE = 20
"""Times in every interval at which simulated cells are looked for outside of the box."""

UNEVEN = (0.0, 1.0, 2.0, 7.0, 30.0)


class Course(NamedTuple):
    """``sizes``: cells seen at each time, where these are not the population's. ``told``: whether totals are given."""

    process: Process
    times: Sequence[float]
    sizes: Sequence[int] | None = None
    told: bool = True


EVEN = branching(lambda t: (t, 1.0))
SLOWING = branching(lambda t: (3 * np.log1p(t) / np.log(31), 3 / (1 + t) / np.log(31)))
QUARTERS = (0.0, 0.75, 1.5, 2.25, 3.0)
THREE = (0.0, 1.0, 2.0, 3.0)
COURSES = {
    "long": Course(EVEN, tuple(np.linspace(0, 3, 11).round(2))),
    "winding": Course(winding, tuple(np.arange(11.0))),
    "slowing": Course(SLOWING, UNEVEN),
    "steady": Course(branching(lambda t: (t / 10, 0.1)), UNEVEN),
    "settling": Course(settling, UNEVEN),
    "sparse": Course(EVEN, QUARTERS, (30, 5000, 300, 100, 2000)),
    "sparser": Course(EVEN, QUARTERS, (1000, 30, 5000, 300, 30)),
    "counts": Course(EVEN, QUARTERS, (30, 5000, 300, 100, 2000), told=False),
    "all": Course(
        SLOWING,
        (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0, 18.0, 24.0, 30.0),
        (300, 30, 1000, 100, 5000, 300, 2000, 30, 500, 100, 3000),
    ),
    "tree": Course(tree(0.0), THREE),
    "leaving": Course(tree(1.2), THREE),
}
NAMES = (
    *("long2", "long10", "long30", "winding2", "winding10"),
    *("slowing2", "slowing10", "slowing30", "steady10", "settling2", "settling10"),
    *("sparse2", "sparse10", "sparse30", "sparser10", "counts10", "all10"),
    *("tree10", "tree30", "leaving10", "leaving30"),
)


def seen(course: Course, n_dims: int, seed: int) -> tuple[list[Drawn], dict[float, float]]:
    """What a fit is shown, and the true total at each time."""
    cells = course.process(course.times, N_CELLS, n_dims, seed)
    totals = {t: part.total for t, part in zip(course.times, cells, strict=True)}
    if course.sizes is not None:
        rng = np.random.default_rng(seed)
        for k, (t, n) in enumerate(zip(course.times, course.sizes, strict=True)):
            pool, of = cells[k], N_CELLS
            while len(pool.x) < n:
                of *= 2
                pool = course.process([t], of, n_dims, seed + FRESH // 2)[0]
            kept = rng.choice(len(pool.x), n, replace=False)
            cells[k] = Drawn(pool.x[kept], pool.g[kept], totals[t])
    return cells, totals


def annotated(cells: Sequence[Drawn], times: Sequence[float]) -> AnnData:
    """Snapshots as `vgfm_sc.tl.fit` takes them."""
    x = np.concatenate([part.x for part in cells])
    obs = pd.DataFrame({"time": np.repeat(times, [len(part.x) for part in cells])})
    obs.index = obs.index.astype(str)
    return AnnData(np.zeros((len(x), 1), np.float32), obs=obs, obsm={"X_pca": x})


def outside(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Share of cells that are outside of the box along any axis."""
    return float(((x < low) | (x > high)).any(axis=-1).mean())


def run(name: str, seed: int, fit: dict, settings: dict, each: bool) -> dict[str, float]:
    """One fit, judged."""
    kind, d = re.fullmatch(r"([a-z]+)(\d+)", name).groups()
    course, n_dims = COURSES[kind], int(d)
    cells, totals = seen(course, n_dims, seed)
    adata = annotated(cells, course.times)
    given = {"mass": totals} if course.sizes is not None and course.told else {}
    method = vgfm_sc.methods.vgfm(**settings)
    began = time.perf_counter()
    vgfm_sc.tl.fit(adata, "time", method=method, seed=seed, progress=False, **given, **fit)
    row = {"seconds": time.perf_counter() - began}
    result = adata.uns["vgfm"]
    row["unconverged"] = int((~np.asarray(result["couplings"]["converged"])).sum())
    row["steps"] = len(result["history"]["fitting"]["loss"]) if "fitting" in result["history"] else 0
    table = at_times(course, cells, adata, n_dims, seed)
    if each:
        scores = vgfm_sc.tl.evaluate(adata, max_cells=1000).set_index("time")
        print(table.set_index("time").join(scores[["w1", "w1_floor"]]).round(4).to_string(), flush=True)
    observed = table["cells"] > 0
    row |= {"outside": table["outside"][observed].max(), "outside_between": table["since"].max()}
    row |= {"outside_fresh": table["outside_fresh"].max(), "beyond": table["beyond"].max()}
    row["seen"] = table["seen"].mean()
    for part, label in ((table[observed], ""), (table[~observed], "_between")):
        row[f"left{label}"], row[f"over_floor{label}"] = part["left"].mean(), part["over_floor"].mean()
        row[f"spread_low{label}"], row[f"spread_high{label}"] = part["spread"].min(), part["spread"].max()
    if course.told:
        row["mass_off"] = table["mass_off"].abs().max()
    growth, truth = adata.obs["vgfm_growth"].to_numpy(float), np.concatenate([part.g for part in cells])
    row["growth_r"], row["growth_slope"] = np.corrcoef(growth, truth)[0, 1], np.polyfit(truth, growth, 1)[0]
    return row


def at_times(course: Course, cells: list[Drawn], adata: AnnData, n_dims: int, seed: int) -> pd.DataFrame:
    """Simulated cells at the time points after the first and between them, beside fresh ones."""
    times = np.asarray(course.times)
    ends = list(zip(times[:-1], times[1:], strict=True))
    between = np.concatenate([a + np.multiply(WITHIN, b - a) for a, b in ends])
    asked = np.unique(np.concatenate([times, between, *(np.linspace(a, b, DENSE) for a, b in ends)]))
    positions, mass = vgfm_sc.get.model(adata).simulate(cells[0].x, asked, tol=1e-4)
    low, high = adata.obsm["X_pca"].min(axis=0), adata.obsm["X_pca"].max(axis=0)
    judged = np.unique(np.concatenate([times[1:], between]))
    rows = []
    for t, fresh in zip(judged, course.process(judged, N_CELLS, n_dims, seed + FRESH), strict=True):
        k, at = int(np.flatnonzero(asked == t)[0]), np.flatnonzero(times == t)
        x, m, y = positions[k], mass[k], fresh.x
        since = positions[(asked > max([times[0], *judged[judged < t]])) & (asked <= t)]
        energy, still = energy_distance(x, y, m), energy_distance(cells[0].x, y)
        own = cells[at[0]].x if len(at) else None
        rows.append(
            {
                "time": t,
                "cells": 0 if own is None else len(own),
                "outside": outside(x, low, high),
                "since": max(outside(part, low, high) for part in since),
                "outside_fresh": outside(y, low, high),
                "beyond": max(0.0, float((np.maximum(low - since, since - high) / (high - low)).max())),
                "left": energy / still,
                "seen": np.nan if own is None else energy_distance(own, y) / still,
                "over_floor": energy / energy_floor(y, m, np.random.default_rng(0)),
                "spread": total_variance(x, m) / total_variance(y),
                "mass_off": m.mean() / fresh.total - 1,
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table, a line for each course."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("courses", nargs="*", default=NAMES, metavar="COURSE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--each", action="store_true", help="every time and every seed")
    args = parser.parse_args()
    print(machine())
    for name in args.courses:
        rows = [run(name, seed, changes(args.fit), changes(args.set), args.each) for seed in args.seeds]
        for row in [*(rows if args.each else []), pd.DataFrame(rows).mean().to_dict()]:
            print(f"{name:<12}" + " ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
