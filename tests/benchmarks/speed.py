"""What a step, a fit, a simulation and an import cost beside the least they could.

    python tests/benchmarks/speed.py                       # all of it
    python tests/benchmarks/speed.py step simulate

step       a matching step beside the bare forward-backward-optimiser step of the same networks on the same batches,
           and with the score; a fitting step by number of cells
accuracy   seconds from calling `fit` until the published W1 and RME are reached, and until the defaults are done
simulate   following cells beside the bare evaluations of the networks that it makes
neighbours nearest cells, exactly and, approximately, from pynndescent
project    velocities onto an embedding
import     `import vgfm_sc` beyond `import anndata`, `import vgfm_sc.tl` beyond torch and anndata

Medians of alternating runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from accuracy import MAX_CELLS, machine
from cases import CASES, clusters

import vgfm_sc
from vgfm_sc.core import device, path
from vgfm_sc.core.dynamics import networks as nets
from vgfm_sc.core.dynamics.flow import BLOCK_CELLS
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.neighbours import nearest
from vgfm_sc.core.reading.projection import LANDMARKS
from vgfm_sc.core.training import fitting, matching, optim
from vgfm_sc.core.transport import entropic

WIDTH, DEPTH, PAIRS = 128, 4, 256
"""Defaults of `vgfm_sc.tl.fit`."""

SPREAD = matching.Spread((0.01, 0.01), (0.03, 0.03))
"""Noise on the path, and blur of the score."""

POSTER = {"gene": (0.046, 0.006), "dyngen": (0.420, 0.053)}
"""W1 and RME as published (Wang et al., 2025)."""


def medians(*functions: Callable[[], object], repeats: int = 5) -> list[float]:
    """Median seconds of each, in alternating runs after one that does not count."""
    seconds: list[list[float]] = [[] for _ in functions]
    for k in range(repeats + 1):
        for function, spent in zip(functions, seconds, strict=True):
            began = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if k:
                spent.append(time.perf_counter() - began)
    return [float(np.median(spent)) for spent in seconds]


def unitless(case) -> tuple[list[torch.Tensor], list[float]]:
    """Snapshots and times as training sees them."""
    x, t = np.asarray(case.adata.obsm[case.use_rep], dtype=float), case.adata.obs[case.time_key].to_numpy(dtype=float)
    points = np.unique(t)
    scaling = Scaling.of(x, points)
    place = device.choose("auto")
    cells = [torch.as_tensor(scaling.to_unitless(x[t == p]), dtype=torch.float32, device=place) for p in points]
    return cells, [float(scaling.to_unitless_time(point)) for point in points]


def step() -> None:
    """A row for each data set."""
    for name, case in {"gene": CASES["gene"](0), "clusters, 50-d": clusters(2000, 50, (0.0, 1.0))}.items():
        cells, times = unitless(case)
        intervals = []
        for k, (x0, x1) in enumerate(zip(cells[:-1], cells[1:], strict=True)):
            masses = torch.ones_like(x0[:, 0]), torch.ones_like(x1[:, 0])
            plan = entropic.balanced(x0, x1, *masses, torch.Generator().manual_seed(0), eps=0.002)
            ends = (x0, x1), (times[k], times[k + 1])
            intervals.append(matching.Interval(plan, *ends, path.straight, SPREAD, None))
        size, n_steps = PAIRS // len(intervals), 100
        batches = list(matching.batches(intervals, size, n_steps, torch.Generator().manual_seed(0)))

        def start(with_score=False, cells=cells, times=times) -> nets.Networks:
            shape, generator = (cells[0].shape[1], WIDTH, DEPTH, len(times)), torch.Generator().manual_seed(0)
            networks = nets.Networks(*shape, generator, with_score=with_score).to(cells[0].device)
            networks.keep_to(torch.cat(cells))
            return networks

        def floor(batches=batches, start=start) -> None:
            networks = start()
            optimiser = optim.Optimiser(networks, 0.01, len(batches))
            for batch in batches:
                state = torch.cat([batch.x, batch.t[:, None]], dim=1)
                off = (networks.velocity(state) - batch.v).square().mean() + (
                    networks.growth(state)[:, 0] - batch.g
                ).square().mean()
                off.backward()
                optimiser.step()

        def ours(with_score=False, intervals=intervals, size=size, n_steps=n_steps, start=start) -> None:
            generator = torch.Generator().manual_seed(0)
            settings = {"size": size, "n_steps": n_steps, "lr": 0.01, "generator": generator}
            matching.match(start(with_score), intervals, **settings, on_step=lambda: None)

        a, b, c = medians(ours, floor, partial(ours, with_score=True))
        print(
            f"matching step, {name:15s} {1e3 * a / n_steps:6.2f} ms   floor {1e3 * b / n_steps:6.2f} ms   {a / b:.2f}"
            f"   with score {1e3 * c / n_steps:6.2f} ms   {c / a:.2f}"
        )
    for n in (2000, 20_000, 200_000):
        cells, times = unitless(clusters(n, 50, (0.0, 1.0)))
        networks = nets.Networks(50, WIDTH, DEPTH, 2, torch.Generator().manual_seed(0)).to(cells[0].device)
        sample = fitting.Sample(cells, times, [1.0, 1.0], len(cells[0]))
        generator = torch.Generator().manual_seed(0)

        def fitted(networks=networks, sample=sample, generator=generator) -> None:
            fitting.distribution_loss(networks, sample.some(1024, generator), [2], mass_weight=1.0).backward()

        (seconds,) = medians(fitted)
        print(f"fitting step, {n:6d} cells a snapshot in 50 dimensions   {1e3 * seconds:6.1f} ms")


def accuracy() -> None:
    """Fits with more and more steps."""
    for name, (w1, rme) in POSTER.items():
        for n in (50, 100, 200, 400, 800, 1700, 3500, None):
            case = CASES[name](0)
            fit = {} if n is None else {"match_steps": n, "fit_steps": 0}
            began = time.perf_counter()
            vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, progress=False, **fit)
            seconds = time.perf_counter() - began
            found = vgfm_sc.tl.evaluate(case.adata, max_cells=MAX_CELLS)[["w1", "rme"]].mean()
            reached = found["w1"] <= w1 and found["rme"] <= rme
            label = "defaults" if n is None else f"{n} matching steps"
            print(f"{name:8s} {label:20s} {seconds:6.1f} s   W1 {found['w1']:.4f}   RME {found['rme']:.4f}   {reached}")
    case = CASES["mouse"](0)
    began = time.perf_counter()
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, progress=False)
    print(f"mouse    defaults             {time.perf_counter() - began:6.1f} s")


def simulate() -> None:
    """A row for each number of cells."""
    case = CASES["gene"](0)
    vgfm_sc.tl.fit(case.adata, case.time_key, use_rep=case.use_rep, progress=False, fit_steps=0)
    model = vgfm_sc.get.model(case.adata)
    first = case.adata.obsm[case.use_rep][case.adata.obs[case.time_key] == 0]
    for n in (200, 2000, 20_000):
        x = first[np.arange(n) % len(first)]
        sizes: list[int] = []
        individual = model.networks.individual

        def counted(t, at, individual=individual, sizes=sizes):
            sizes.append(len(at))
            return individual(t, at)

        model.networks.individual = counted
        model.simulate(x, np.linspace(0, 4, 81), tol=1e-4)
        model.networks.individual = individual
        made = list(sizes)
        batch = torch.as_tensor(model.scaling.to_unitless(x[:BLOCK_CELLS]), dtype=torch.float32)

        @torch.no_grad()
        def bare(made=made, batch=batch) -> None:
            for size in made:
                model.networks.individual(0.0, batch[:size])

        def ours(x=x) -> None:
            model.simulate(x, np.linspace(0, 4, 81), tol=1e-4)

        a, b = medians(ours, bare, repeats=21)
        print(f"simulate {n:6d} cells to 81 times   {a:7.3f} s   {len(made)} bare evaluations {b:7.3f} s   {a / b:.2f}")


def neighbours() -> None:
    """A row for each number of cells and of dimensions: exact neighbours, and approximate ones with what they miss."""
    from pynndescent import NNDescent

    rng = np.random.default_rng(0)
    for n in (1000, 100_000):
        for d in (2, 10, 50):
            x = rng.standard_normal((n, d)).astype(np.float32)
            searched = x[rng.permutation(n)[:LANDMARKS]]
            began = time.perf_counter()
            _, found = nearest(x, searched, 31)
            exact = time.perf_counter() - began
            began = time.perf_counter()
            other, _ = NNDescent(searched, n_neighbors=31, random_state=0).query(x, k=31)
            nearly = time.perf_counter() - began
            some = rng.permutation(n)[:1000]
            half_squares = np.square(searched, dtype=float).sum(1) / 2
            wanted = np.argsort(half_squares - x[some].astype(float) @ searched.T.astype(float), axis=1)[:, :31]
            shares = [np.mean([len(np.intersect1d(*pair)) / 31 for pair in zip(part[some], wanted, strict=True)])
                      for part in (found, other)]  # fmt: skip
            print(
                f"31 neighbours of {n:6d} cells among {len(searched):5d} in {d:2d} dimensions   exact "
                f"{exact:5.2f} s, {shares[0]:.4f} right   pynndescent {nearly:5.2f} s, {shares[1]:.4f} right",
                flush=True,
            )


def project() -> None:
    """A row for each number of cells: velocities onto a curved embedding of 30 dimensions."""
    small = vgfm_sc.datasets.branching(n_cells=200, n_dims=30)
    vgfm_sc.tl.fit(small, "time", use_rep="X_state", match_steps=50, fit_steps=0, progress=False)
    del small.obsp["vgfm_coupling"]  # cells are drawn again, pairs of them would be too
    rng = np.random.default_rng(0)
    for n in (25_000, 50_000, 100_000):
        rows = rng.integers(small.n_obs, size=n)
        adata = small[rows].copy()
        adata.obsm["X_state"] = small.obsm["X_state"][rows] + 0.05 * rng.standard_normal((n, 30))
        velocity, _ = vgfm_sc.get.model(adata)(adata.obs["time"].to_numpy(), adata.obsm["X_state"])
        adata.obsm["vgfm_velocity_state"] = velocity.astype(np.float32)  # where the cells stand now
        adata.obsm["X_umap"] = np.tanh(adata.obsm["X_state"][:, :2])
        began = time.perf_counter()
        vgfm_sc.tl.project(adata)
        print(f"project {n:6d} cells   {time.perf_counter() - began:6.1f} s", flush=True)


def import_() -> None:
    """Seconds of fresh interpreters."""

    def run(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    a, b = medians(run("import anndata, vgfm_sc"), run("import anndata"))
    print(f"import vgfm_sc beyond anndata   {a - b:.3f} s (anndata {b:.2f} s)")
    a, b = medians(run("import torch, anndata, vgfm_sc.tl"), run("import torch, anndata"))
    print(f"import vgfm_sc.tl beyond torch and anndata   {a - b:.3f} s (torch and anndata {b:.2f} s)")


def main() -> None:
    """Print what is asked for."""
    parts = {"step": step, "accuracy": accuracy, "simulate": simulate, "neighbours": neighbours}
    parts |= {"project": project, "import": import_}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(parts), metavar="PART")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(parts):
        parser.error(f"unknown {sorted(unknown)}; there are {list(parts)}")
    print(machine())
    for name in args.parts:
        parts[name]()


if __name__ == "__main__":
    main()
