"""Fits beside each other: what a second process on the same processors costs the first.

    python tests/benchmarks/neighbours.py                # gene, two at once
    python tests/benchmarks/neighbours.py dyngen --at-once 4

Each fit is a process of its own with torch's own number of threads; it is timed by itself after its imports, and all
start together. Best with nothing else running: the load before is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from accuracy import machine

HERE = Path(__file__).resolve().parent

FIT = """
import sys, time, warnings
from cases import CASES
import vgfm_sc.tl
warnings.simplefilter("ignore")
case = CASES["{name}"](0)
print("ready", flush=True)
sys.stdin.readline()
wall, processor = time.perf_counter(), time.process_time()
vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, progress=False)
print(time.perf_counter() - wall, time.process_time() - processor)
"""


def at_once(name: str, n: int) -> list[tuple[float, float]]:
    """Wall and processor seconds of ``n`` fits that start together."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", FIT.format(name=name)]
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
    args = parser.parse_args()
    print(f"{machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}")
    for name in args.cases:
        (alone,) = at_once(name, 1)
        beside = at_once(name, args.at_once)
        slowest = max(wall for wall, _ in beside)
        print(
            f"{name:10s} alone {alone[0]:6.1f} s (processor {alone[1]:6.1f})   {args.at_once} at once {slowest:6.1f} s "
            f"(processor {max(spent for _, spent in beside):6.1f})   {slowest / alone[0]:.2f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
