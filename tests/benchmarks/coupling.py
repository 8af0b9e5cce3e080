"""The coupling against POT's semi-relaxed Sinkhorn, on the same problem and to the same marginal error.

    python tests/benchmarks/coupling.py --cells 1000 2000 5000 --dims 50 --repeats 5
    python tests/benchmarks/coupling.py --parts
    python tests/benchmarks/coupling.py --hard

Runs alternate (ours, POT, ours, ...); medians are printed, with the marginal errors that were reached. With --parts:
what coupling in parts changes in growth, displacement and time at 10,000 cells a snapshot. With --hard: whether the
couplings of methods converge on heavy tails, duplicates and far clusters, at eps from 1e-4 to 1.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import ot
import torch
from cases import clusters

import vgfm_sc
from vgfm_sc.core import device
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.transport import entropic, sinkhorn
from vgfm_sc.core.transport.pairs import Pairs


def problem(n: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two Gaussian mixtures of ten components, scaled to mean cost 1."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((10, d)) / np.sqrt(d) * np.sqrt(10)
    x, y = (centres[rng.integers(10, size=n)] + shift + rng.standard_normal((n, d)) for shift in (0.0, 0.2))
    unit = np.sqrt(ot.dist(x[:1000], y[:1000]).mean())
    place = device.choose("auto")
    return torch.as_tensor(x / unit, device=place), torch.as_tensor(y / unit, device=place)


def ours(x: torch.Tensor, y: torch.Tensor, eps: float, rho: float, tol: float) -> tuple[float, int]:
    """Marginal error and products with the plan."""
    ones = [torch.ones_like(z[:, 0]) for z in (x, y)]
    pairs = Pairs(x, y, *ones, entropic.BLOCK_PAIRS[x.device.type])
    draw = torch.Generator().manual_seed(0)
    solved = sinkhorn.solve(pairs, eps=eps, rho=rho, tol=tol, max_iter=10_000, generator=draw)
    return solved.marginal_error, solved.n_iter


def pot(x: torch.Tensor, y: torch.Tensor, eps: float, rho: float, tol: float) -> tuple[float, int]:
    """The same for POT, stopped at the first check at which its marginals are as good."""
    cost = ot.dist(x.cpu().numpy(), y.cpu().numpy())
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


def parts(most_pairs: list[int], repeats: int) -> None:
    """Rows for two simulators: the default coupling of an interval whole, and in parts of ``most_pairs``."""
    branching = vgfm_sc.datasets.branching(n_cells=10_000, times=(0.0, 1.0, 2.0))
    drifting = clusters(10_000, 50, (0.0, 1.0)).adata
    for name, adata, key, group, (t0, t1) in (
        ("branching, 10 d", branching, "X_state", "cell_type", (1.0, 2.0)),
        ("clusters, 50 d", drifting, "X_noisy", "cluster", (0.0, 1.0)),
    ):
        time_of, x = adata.obs["time"].to_numpy(), np.asarray(adata.obsm[key], dtype=float)
        scaled = torch.as_tensor(Scaling.of(x, np.unique(time_of)).to_unitless(x), dtype=torch.float32)
        scaled = scaled.to(device.choose("auto"))
        x0, x1 = scaled[time_of == t0], scaled[time_of == t1]
        of = adata.obs[group].to_numpy()[time_of == t0]
        whole: tuple | None = None
        for most in [10**12, *most_pairs]:
            entropic.MOST_PAIRS = entropic.PART_PAIRS = dict.fromkeys(entropic.MOST_PAIRS, most)
            for seed in range(1 if whole is None else repeats):
                began = time.perf_counter()
                masses = torch.ones_like(x0[:, 0]), torch.ones_like(x1[:, 0])
                found = vgfm_sc.methods.vgfm().coupling(x0, x1, *masses, torch.Generator().manual_seed(seed))
                seconds = time.perf_counter() - began
                growth = np.log(found.row_mass)
                target = x1.double().cpu().numpy()
                moved = (found.plan @ target) / found.plan.sum(axis=1)[:, None] - x0.double().cpu().numpy()
                row = f"{name:16s} {found.n_parts:4d} parts {seconds:6.1f} s"
                if whole is None:
                    whole = growth, moved
                    print(f"{row}   spread of log row mass {growth.std():.3f}", flush=True)
                    continue
                off = growth - whole[0]
                by_group = max(abs(off[of == k].mean()) for k in np.unique(of))
                displacement = np.linalg.norm(moved - whole[1]) / np.linalg.norm(whole[1])
                print(
                    f"{row}   log row mass: bias {off.mean():+.4f}, of a group at most {by_group:.4f}, "
                    f"spread {off.std():.4f}   displacement off {displacement:.3f}",
                    flush=True,
                )


def snapshots(name: str) -> list[np.ndarray]:
    """Two snapshots on which entropic transport is hard to solve."""
    rng = np.random.default_rng(0)
    if name == "heavy tails":  # Student's t with two degrees of freedom on every axis
        return [rng.standard_t(2, (n, 50)) for n in (1500, 1200)]
    if name == "duplicates":
        x, y = rng.standard_normal((40, 10)), rng.standard_normal((30, 10)) + 0.3
        return [x[rng.integers(0, 40, 1000)], y[rng.integers(0, 30, 800)]]
    x, y = rng.standard_normal((1000, 10)), rng.standard_normal((800, 10)) + 0.3
    if name == "clusters 1e4 apart":
        x[500:, 0] += 1e4
        y[267:, 0] += 1e4
    return [x, y]


def hard() -> None:
    """A row for each problem, method and eps."""
    print("problem             eps     method  converged   error  products  CPU seconds")
    for name in ("normal", "heavy tails", "duplicates", "clusters 1e4 apart"):
        cells = snapshots(name)
        scaling = Scaling.of(np.concatenate(cells), np.array([0.0, 1.0]))
        x, y = (torch.as_tensor(scaling.to_unitless(z), dtype=torch.float32) for z in cells)
        for eps in (1e-4, 0.002, 0.02, 1.0):
            for method in (vgfm_sc.methods.otcfm(eps=eps), vgfm_sc.methods.vgfm(eps=eps)):
                began, masses = time.process_time(), (torch.ones(len(x)), torch.ones(len(y)))
                found = method.coupling(x, y, *masses, torch.Generator().manual_seed(0))
                seconds = time.process_time() - began
                print(
                    f"{name:18s} {eps:6g}   {method.name:7s} {found.converged!s:9s} {found.marginal_error:7.1e} "
                    f"{found.n_iter:8d} {seconds:10.1f}",
                    flush=True,
                )


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", type=int, default=[1000, 2000, 5000])
    parser.add_argument("--dims", type=int, default=50)
    parser.add_argument("--eps", type=float, default=0.01)
    parser.add_argument("--rho", type=float, default=1.0)
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--hard", action="store_true")
    args = parser.parse_args()
    if args.hard:
        hard()
        return
    if args.parts:
        parts([entropic.MOST_PAIRS["cpu"], entropic.PART_PAIRS["cpu"], entropic.MOST_PAIRS["cpu"] // 10], 1)
        return
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
