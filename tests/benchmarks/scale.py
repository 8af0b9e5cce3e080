"""Seconds of each stage and peak memory of `vgfm_sc.tl.fit` by number of cells, and growth against the truth.

    python tests/benchmarks/scale.py                                          # two snapshots in 50 dimensions
    python tests/benchmarks/scale.py --cells 40000 --times 0 0.25 0.5 0.75 1
    python tests/benchmarks/scale.py --cells 5000 --dims 2000

Each size runs in a process of its own, whose peak of resident memory is printed; it includes the interpreter, torch
and the data. Defaults throughout, unless --fit NAME=VALUE changes them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

STAGES = ("coupling", "matching", "fitting")


class Clock:
    """Stands in for a progress bar and notes how long it was open."""

    seconds: dict[str, float] = {}

    def __init__(self, total: int, desc: str, **_: object):
        self.name = desc

    def __enter__(self) -> Clock:
        self.began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds[self.name] = time.perf_counter() - self.began

    n = 0

    def update(self) -> None:
        """One step done."""


def one(n_cells: int, n_dims: int, times: list[float], fit: list[str]) -> None:
    """Fit once and print a row."""
    from accuracy import changes
    from cases import RATES, clusters

    import vgfm_sc
    from vgfm_sc.tl import _progress

    case = clusters(n_cells, n_dims, tuple(times))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    _progress.Bar = Clock
    began = time.perf_counter()
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, **changes(fit))
    total = time.perf_counter() - began
    stages = [Clock.seconds[name] for name in STAGES]
    grown = case.adata.obs.groupby("cluster", observed=True)["vgfm_growth"].mean()
    couplings = case.adata.uns["vgfm"]["couplings"]
    print(
        f"{n_cells:7d} {len(times):2d} {n_dims:5d}  "
        + " ".join(f"{s:8.1f}" for s in [*stages, total - sum(stages), total])
        + f"  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:6.2f} {start:6.2f}"
        + f"  {np.abs(grown - RATES).max():6.3f} {couplings['n_parts'].max():4d} {couplings['converged'].all()}",
        flush=True,
    )


def main() -> None:
    """Print a table, a row for each number of cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000]
    parser.add_argument("--cells", nargs="+", type=int, default=sizes, help="per snapshot")
    parser.add_argument("--dims", type=int, default=50)
    parser.add_argument("--times", nargs="+", type=float, default=[0.0, 1.0])
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--one", action="store_true", help="in this process, without the head of the table")
    args = parser.parse_args()
    if args.one:
        one(args.cells[0], args.dims, args.times, args.fit)
        return
    from accuracy import machine

    print(machine())
    print(
        "  cells  k  dims  coupling matching  fitting     rest    total    GB  GB before  growth off  parts  converged"
    )
    rest = [f"--dims={args.dims}", "--times", *map(str, args.times), "--fit", *args.fit, "--one"]
    for n in args.cells:
        subprocess.run([sys.executable, Path(__file__), "--cells", str(n), *rest], check=True)


if __name__ == "__main__":
    main()
