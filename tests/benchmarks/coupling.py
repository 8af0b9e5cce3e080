"""The coupling against POT's semi-relaxed Sinkhorn, on the same problem and to the same marginal error.

    python tests/benchmarks/coupling.py --cells 1000 2000 --dims 50 --repeats 3

Runs alternate (ours, POT, ours, ...); medians are printed, with the marginal errors that were reached.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import ot
import torch

from vgfm_sc.core import sinkhorn


def problem(n: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two Gaussian mixtures of ten components, scaled to mean cost 1."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((10, d)) / np.sqrt(d) * np.sqrt(10)
    x, y = (centres[rng.integers(10, size=n)] + shift + rng.standard_normal((n, d)) for shift in (0.0, 0.2))
    unit = np.sqrt(ot.dist(x[:1000], y[:1000]).mean())
    return torch.as_tensor(x / unit), torch.as_tensor(y / unit)


def ours(x: torch.Tensor, y: torch.Tensor, eps: float, rho: float, tol: float) -> tuple[float, int]:
    """Marginal error and products with the plan."""
    ones = [torch.ones(len(z), dtype=torch.float64) for z in (x, y)]
    solved = sinkhorn.solve(
        x,
        y,
        *ones,
        eps=eps,
        rho=rho,
        tol=tol,
        max_iter=10_000,
        max_entries=40_000_000,
        block=1_000_000,
        generator=torch.Generator().manual_seed(0),
    )
    return solved.marginal_error, solved.n_iter


def pot(x: torch.Tensor, y: torch.Tensor, eps: float, rho: float, tol: float) -> tuple[float, int]:
    """The same for POT, stopped at the first check at which its marginals are as good."""
    cost = ot.dist(x.numpy(), y.numpy())
    a, b, used, start = np.ones(len(x)), np.ones(len(y)), 0, None
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is stopped before it calls itself converged
            plan, log = ot.unbalanced.sinkhorn_unbalanced(
                a, b, cost, eps, (rho, np.inf), reg_type="kl", numItermax=50, stopThr=0, warmstart=start, log=True
            )
        used += 50
        start = log["logu"], log["logv"]
        # its scalings after an update of v: the target is exact, the source is what converges
        f = eps * log["logu"]
        want = np.exp(-f / rho)
        error = np.abs(plan.sum(1) - want).sum() / len(y)
        if error < tol or used >= 20_000:
            return float(error), used


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", type=int, default=[1000, 2000, 5000])
    parser.add_argument("--dims", type=int, default=50)
    parser.add_argument("--eps", type=float, default=0.01)
    parser.add_argument("--rho", type=float, default=1.0)
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"eps {args.eps}, rho {args.rho}, tol {args.tol}, {args.dims} dimensions, {torch.get_num_threads()} threads")
    for n in args.cells:
        x, y = problem(n, args.dims, 0)
        seconds: dict[str, list[float]] = {"ours": [], "pot": []}
        reached = {}
        for _ in range(args.repeats):
            for name, solve in (("ours", ours), ("pot", pot)):
                began = time.perf_counter()
                reached[name] = solve(x, y, args.eps, args.rho, args.tol)
                seconds[name].append(time.perf_counter() - began)
        medians = {name: float(np.median(values)) for name, values in seconds.items()}
        rows = "   ".join(f"{k} {medians[k]:7.2f} s, error {e:.1e}, {i:5d} iterations" for k, (e, i) in reached.items())
        print(f"{n:6d} cells   {rows}   ratio {medians['pot'] / medians['ours']:.1f}", flush=True)


if __name__ == "__main__":
    main()
