"""What `vgfm_sc.tl.fit` says that it will take, beside what it took.

    python tests/benchmarks/cost.py                         # all cases
    python tests/benchmarks/cost.py gene mouse --fit fit_steps=50

A line for each stage: seconds estimated and measured, and their ratio, measured by estimated. Where the ratios of a
stage are not around 1, multiply its numbers at the top of `vgfm_sc/core/cost/estimate.py` by them. Memory is that by
which the process grew at its peak. Each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import vgfm_sc
from vgfm_sc.core.cost import probe
from vgfm_sc.tl import _progress

STAGES = ("coupling", "matching", "fitting")


def branching(n_cells: int, times: tuple[float, ...]):
    """In 10 dimensions, ``n_cells`` at the first time."""
    from cases import Case

    return Case(vgfm_sc.datasets.branching(n_cells=n_cells, times=times), "time", "X_state")


def cases() -> dict:
    """Functions of no argument."""
    from cases import CASES, clusters

    known = {name: partial(CASES[name], 0) for name in ("gene", "dyngen", "mouse")}
    return known | {
        "branching": partial(branching, 600, (0.0, 1.0, 2.0)),
        "branching, 3000 at first": partial(branching, 3000, (0.0, 1.0)),
        "clusters, 50-d": partial(clusters, 5000, 50, (0.0, 1.0)),
    }


class Clock(_progress.Bar):
    """A bar that notes how long it was open."""

    seconds: dict[str, float] = {}

    def __enter__(self):
        self.began = time.perf_counter()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        taken = time.perf_counter() - self.began
        self.seconds[self.desc] = self.seconds.get(self.desc, 0.0) + taken


def one(name: str, fit: list[str]) -> None:
    """Fit once and print what it took."""
    from accuracy import changes

    case, told, real = cases()[name](), [], probe.foreseen
    tiny = vgfm_sc.datasets.toggle_switch(n_per_branch=20)
    vgfm_sc.tl.fit(tiny, "time", use_rep="X_genes", match_steps=2, fit_steps=2, progress=False)  # loads what is needed

    def foreseen(*given):
        began = time.perf_counter()
        told.extend([real(*given), time.perf_counter() - began])
        return told[0]

    probe.foreseen, _progress.Bar = foreseen, Clock
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, progress=True, **changes(fit))
    took, grown = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    estimate, probed = told
    if estimate is None:
        print(f"{name:26s} is too small for an estimate; it took {took:.1f} s", flush=True)
        return
    rows = [(stage, getattr(estimate, stage), Clock.seconds.get(stage, 0.0)) for stage in STAGES]
    rows += [("whole fit", estimate.seconds, took), ("memory, MB", estimate.memory / 1e6, grown * 1024 / 1e6)]
    for what, expected, true in rows:
        print(f"{name:26s} {what:12s} {expected:8.1f} {true:8.1f} {true / max(expected, 1e-9):6.2f}", flush=True)
    print(f"{name:26s} probe        {'':8s} {probed:8.2f}", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=list(cases()), metavar="DATA")
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.fit)
        return
    unknown = set(args.data) - set(cases())
    if unknown:
        parser.error(f"unknown {sorted(unknown)}; there are {list(cases())}")
    from accuracy import machine

    print(machine())
    print(f"{'':26s} {'':12s} {'estimate':>8s} {'measured':>8s} {'ratio':>6s}", flush=True)
    for name in args.data:
        command = [sys.executable, str(Path(__file__)), "--one", name, "--fit", *args.fit]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
