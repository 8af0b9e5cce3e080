"""A large course on a dask cluster of local workers, beside the same fit in one process.

    python tests/benchmarks/cluster.py                              # 100,000 cells at five times, two workers
    python tests/benchmarks/cluster.py --cells 3000 --workers 4
    python tests/benchmarks/cluster.py --steps                      # seconds and memory of every step, in one process

The branching process at five times; ``--cells`` are those of the first, of 6.7 in all. Matching and fitting do not
depend on the number of cells and are short unless --fit NAME=VALUE changes them. Workers have one thread each and so
has the client. Peaks are those of resident memory, which includes interpreter, torch and, of the client, the data.
Each fit runs in a process of its own. Linux alone tells the memory of a step.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from functools import partial, wraps
from pathlib import Path

import joblib
import numpy as np
import torch

TIMES = (0.0, 0.5, 1.0, 1.5, 2.0)
DRAWS = 20
"""Draws of the process that are put together, each of which takes a twentieth of the memory of one."""

SHORT = {"match_steps": 200, "fit_steps": 5}

STEPS = {
    "read the representation": ("_anndata.representation", "read_representation"),
    "scale": ("core.dynamics.scaling", "Scaling.of"),
    "unitless course": ("tl._models", "unitless_course"),
    "growth, first plans told": ("core.transport.growth", "told"),
    "coupling": ("core.training.train", "_coupled"),
    "- cut": ("core.transport.parts", "split"),
    "- solve": ("core.transport.sinkhorn", "solve"),
    "- drift": ("core.transport.drift", "carried"),
    "- thin": ("core.transport.parts", "thinned"),
    "spacing": ("core.training.train", "spacing"),
    "slopes": ("core.training.smoothing", "node_slopes"),
    "pairs to draw from": ("core.training.matching", "Interval"),
    "match": ("core.training.matching", "match"),
    "fit": ("core.training.fitting", "fit"),
    "balance": ("core.training.train", "balance"),
    "velocity and growth at cells": ("tl._models", "fields"),
    "plans to obsp": ("tl._entries", "joined_plans"),
}


def course(n_cells: int, n_dims: int):
    """The branching process, with ``n_cells`` at the first time."""
    import anndata

    import vgfm_sc

    draw = partial(vgfm_sc.datasets.branching, n_cells=n_cells // DRAWS, n_dims=n_dims, times=TIMES, space_seed=0)
    adata = anndata.concat([draw(seed=k) for k in range(DRAWS)], index_unique="-")
    del adata.obsm["true_velocity"]
    return adata


def peak() -> float:
    """GB of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one(n_cells: int, n_dims: int, n_workers: int, fit: dict) -> None:
    """Fit once and print a row, and at its end a hash of what came out."""
    from scale import STAGES, Clock

    import vgfm_sc
    from vgfm_sc.tl import _progress

    torch.set_num_threads(1)
    adata = course(n_cells, n_dims)
    before, workers = peak(), []
    _progress.Bar = Clock
    client, spread = nullcontext(), nullcontext()
    if n_workers:
        from distributed import Client, LocalCluster

        cluster = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")
        client, spread = Client(cluster), joblib.parallel_config(backend="dask")
    with client, spread:
        began = time.perf_counter()
        vgfm_sc.tl.fit(adata, "time", use_rep="X_state", progress=False, **fit)
        total = time.perf_counter() - began
        if n_workers:
            workers = sorted(client.run(peak).values())
            client.shutdown()
    found = hashlib.sha256()
    plans = adata.obsp["vgfm_coupling"]
    for values in (adata.obsm["vgfm_velocity_state"], adata.obs["vgfm_growth"].to_numpy(), plans.data, plans.indices):
        found.update(np.ascontiguousarray(values).data)
    stages = " ".join(f"{Clock.seconds[name]:8.1f}" for name in STAGES)
    n_parts = int(adata.uns["vgfm"]["couplings"]["n_parts"].sum())
    print(
        f"{adata.n_obs:8,d} {n_parts:5d} {n_workers:7d} {stages} {total:8.1f}  {before:9.2f} {peak():6.2f}  "
        f"{' '.join(f'{gb:.2f}' for gb in workers) or '-':>12s}  {found.hexdigest()[:16]}",
        flush=True,
    )


def by_step(n_cells: int, n_dims: int, fit: dict) -> None:
    """Fit once and print what each of the steps took."""
    import vgfm_sc

    torch.set_num_threads(1)
    seconds, calls, most = Counter(), Counter(), Counter()

    def told(name: str, function):
        @wraps(function)
        def run(*args, **given):
            before, began = _resident("VmRSS"), time.perf_counter()
            if not name.startswith("-"):  # a step within one that is measured
                Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
            result = function(*args, **given)
            seconds[name] += time.perf_counter() - began
            calls[name] += 1
            most[name] = max(most[name], _resident("VmHWM") - before)
            return result

        return run

    for name, (module, path) in STEPS.items():
        *owner, attribute = path.split(".")
        holder = importlib.import_module(f"vgfm_sc.{module}")
        for part in owner:
            holder = getattr(holder, part)
        setattr(holder, attribute, told(name, getattr(holder, attribute)))
    adata = course(n_cells, n_dims)
    began = time.perf_counter()
    vgfm_sc.tl.fit(adata, "time", use_rep="X_state", progress=False, **fit)
    total = time.perf_counter() - began
    size = adata.obsm["X_state"].nbytes / 2**30
    print(f"{adata.n_obs:,} cells at {len(TIMES)} times in {n_dims} dimensions, {size:.2f} GB; {total:.1f} s in all")
    print(f"{'step':30}{'calls':>6}{'seconds':>9}{'GB more':>9}")
    for name in STEPS:
        added = "" if name.startswith("-") else f"{most[name]:9.2f}"
        print(f"{name:30}{calls[name]:6d}{seconds[name]:9.1f}{added}", flush=True)


def _resident(what: str) -> float:
    """GB of this process, now or at most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 2**20


def main() -> None:
    """Print a row for the fit in one process and one for that on the cluster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=15_000, help="at the first time")
    parser.add_argument("--dims", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--one", action="store_true", help="on this many workers, without the head of the table")
    args = parser.parse_args()
    from accuracy import changes, machine

    fit = SHORT | changes(args.fit)
    if args.one:
        one(args.cells, args.dims, args.workers, fit)
        return
    print(machine())
    if args.steps:
        by_step(args.cells, args.dims, fit)
        return
    print("   cells parts workers coupling matching  fitting    total  GB before     GB    GB workers  result")
    for n_workers in (0, args.workers):
        rest = [f"--cells={args.cells}", f"--dims={args.dims}", f"--workers={n_workers}", "--one", "--fit", *args.fit]
        subprocess.run([sys.executable, Path(__file__), *rest], check=True)


if __name__ == "__main__":
    main()
