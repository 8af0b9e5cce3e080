"""Fits beside each other: what a second process on the same processors costs the first.

    python tests/benchmarks/neighbours.py                # gene, two at once
    python tests/benchmarks/neighbours.py dyngen --at-once 4
    python tests/benchmarks/neighbours.py --per-thread 65536 --fit match_steps=300 fit_steps=40   # more threads

Each fit is a process of its own with torch's own number of threads; it is timed by itself after its imports, and all
start together. Best with nothing else running: the load before is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from accuracy import changes, machine

HERE = Path(__file__).resolve().parent

FIT = """
import sys, time, warnings
from cases import CASES
import vgfm_sc.tl
from vgfm_sc.core import device
warnings.simplefilter("ignore")
case = CASES["{name}"](0)
device.PER_THREAD = {per_thread} or device.PER_THREAD
print("ready", flush=True)
sys.stdin.readline()
wall, processor = time.perf_counter(), time.process_time()
vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, progress=False, **{fit})
print(time.perf_counter() - wall, time.process_time() - processor)
"""


def at_once(name: str, n: int, per_thread: int | None, fit: dict) -> list[tuple[float, float]]:
    """Wall and processor seconds of ``n`` fits that start together; ``per_thread``: in place of the package's own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", FIT.format(name=name, per_thread=per_thread, fit=fit)]
    running = [subprocess.Popen(command, env=environment, **pipes) for _ in range(n)]
    for process in running:
        if process.stdout.readline() != "ready\n":
            sys.exit("A fit did not start.")
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    spent = [tuple(float(number) for number in process.communicate()[0].split()) for process in running]
    if any(process.returncode for process in running):
        sys.exit("A fit failed.")
    return spent


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["gene"])
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--per-thread", type=int)
    parser.add_argument("--fit", nargs="*", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    settings = args.per_thread, changes(args.fit)
    print(f"{machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}")
    for name in args.cases:
        (alone,) = at_once(name, 1, *settings)
        beside = at_once(name, args.at_once, *settings)
        slowest = max(wall for wall, _ in beside)
        print(
            f"{name:10s} alone {alone[0]:6.1f} s (processor {alone[1]:6.1f})   {args.at_once} at once {slowest:6.1f} s "
            f"(processor {max(spent for _, spent in beside):6.1f})   {slowest / alone[0]:.2f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
