"""Do paths along the data keep to them, and do they predict times left out?

    python tests/benchmarks/manifold.py courses
    python tests/benchmarks/manifold.py times dyngen eb5 --seed 0

``courses``: an arc, a circle and two arms, each in two dimensions and embedded with noise in 10 and 30. Distances to
the curve are those of the paths that networks are matched to, and of cells simulated from the first time. ``times``:
each time point between others is left out in turn; scores are shares of those of the nearest snapshot.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from cases import CASES
from choose import DATA
from scipy.spatial import KDTree

import vgfm_sc
from vgfm_sc.core.training import matching

DATA = {**DATA, "mouse": CASES["mouse"]}

METHODS = {
    "vgfm": vgfm_sc.methods.vgfm(),
    "manifold": vgfm_sc.methods.manifold(),
    "manifold, not smooth": vgfm_sc.methods.manifold(smooth=False),
    "OT-MFM": vgfm_sc.methods.manifold(balanced=True),
    "otcfm": vgfm_sc.methods.otcfm(),
}

MOST_CELLS = 600
"""Embryoid bodies at each time, of some 3,000."""

LATE = 0.25
"""Share of the cells that are still on their way, evenly spread over it."""


def arc(rng: np.random.Generator, n: int) -> tuple[list[np.ndarray], np.ndarray]:
    """From one end of a half circle to the other."""
    snapshots = [np.abs(rng.normal(0, 0.15, n)), on_the_way(rng, n, np.pi, np.pi)]
    return [circle_of(1.0, angle) for angle in snapshots], circle_of(1.0, np.linspace(0, np.pi, 2000))


def circle(rng: np.random.Generator, n: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Once around a circle in three intervals."""
    third = 2 * np.pi / 3
    snapshots = [rng.normal(0, 0.15, n), *(on_the_way(rng, n, k * third, third) for k in (1, 2, 3))]
    return [circle_of(2.0, angle) for angle in snapshots], circle_of(2.0, np.linspace(0, 2 * np.pi, 4000))


def arms(rng: np.random.Generator, n: int) -> tuple[list[np.ndarray], np.ndarray]:
    """From a fork along two half circles, three of four cells along the lower, and twice as many in the end."""
    snapshots = [np.abs(rng.normal(0, 0.15, n)), on_the_way(rng, 2 * n, np.pi, np.pi)]
    lower = [rng.random(n) < 0.5, rng.random(2 * n) < 0.75]
    both = [sign * arm(np.linspace(0, np.pi, 2000)) for sign in ([1, 1], [1, -1])]
    signs = [np.where(down, -1, 1)[:, None] ** [0, 1] for down in lower]
    cells = [arm(angle) * sign for angle, sign in zip(snapshots, signs, strict=True)]
    return cells, np.concatenate(both)


def on_the_way(rng: np.random.Generator, n: int, end: float, way: float) -> np.ndarray:
    """Angles of cells that have come to ``end``, and of those that are late."""
    late, there = rng.random(n) < LATE, end - np.abs(rng.normal(0, 0.15, n))
    return np.where(late, rng.uniform(end - way, end, n), there)


def circle_of(radius: float, angle: np.ndarray) -> np.ndarray:
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def arm(angle: np.ndarray) -> np.ndarray:
    """Up a half circle from the origin."""
    return np.stack([np.sin(angle), 1 - np.cos(angle)], axis=1)


COURSES = {"arc": arc, "circle": circle, "arms": arms}


class Bent(NamedTuple):
    """A course, and how far places, shape ``(n, d)``, are from its curve in the plane that holds it."""

    adata: AnnData
    away: Callable[[np.ndarray], np.ndarray]


def course(name: str, n_dims: int, seed: int, n: int = 300) -> Bent:
    """A course by name, on a plane turned at random if there are more than two dimensions."""
    rng = np.random.default_rng(seed)
    snapshots, curve = COURSES[name](rng, n)
    plane = np.linalg.qr(rng.standard_normal((n_dims, n_dims)))[0][:2] if n_dims > 2 else np.eye(2)
    x = np.concatenate(snapshots) @ plane
    x += (0.03 if n_dims > 2 else 0.01) * rng.standard_normal(x.shape)
    obs = pd.DataFrame({"time": np.repeat(np.arange(len(snapshots)) * 1.0, [len(part) for part in snapshots])})
    obs.index = obs.index.astype(str)
    tree = KDTree(curve)
    return Bent(AnnData(obs=obs, obsm={"X_r": x}), lambda places: tree.query(places @ plane.T)[0])


def distances(name: str, n_dims: int, fit_steps: int, n_steps: int, seed: int) -> list[dict]:
    """Of a course, a row for each method: means, and what 99 of 100 are within."""
    adata, away = course(name, n_dims, seed)
    x, rows = adata.obsm["X_r"], []
    first, centre = x[adata.obs["time"] == 0], x.mean(axis=0)
    length = np.sqrt(((x - centre) ** 2).mean())
    for label, method in METHODS.items():
        drawn, draw = [], matching.Interval.draw

        def kept(interval, n, generator, drawn=drawn, draw=draw):
            batch = draw(interval, n, generator)
            drawn.append(batch.on_path.numpy())
            return batch

        matching.Interval.draw = kept
        began = time.perf_counter()
        try:
            vgfm_sc.tl.fit(
                adata, "time", use_rep="X_r", method=method, match_steps=n_steps, fit_steps=fit_steps, score=False,
                seed=seed, progress=False,
            )  # fmt: skip
        finally:
            matching.Interval.draw = draw
        seconds = time.perf_counter() - began
        on_path = away(np.concatenate(drawn)[::10] * length + centre)
        times = np.linspace(0, adata.obs["time"].max(), 25)
        places, _ = vgfm_sc.get.model(adata).simulate(first, times, tol=1e-3)
        simulated = away(places.reshape(-1, n_dims))
        row = {"course": name, "dims": n_dims, "method": label, "paths": on_path.mean()}
        row |= {"paths, 99%": np.quantile(on_path, 0.99), "simulated": simulated.mean()}
        rows.append(row | {"simulated, 95%": np.quantile(simulated, 0.95), "seconds": seconds})
    return rows


def thinned(adata: AnnData, seed: int) -> AnnData:
    """At most `MOST_CELLS` cells of each time."""
    rng, times = np.random.default_rng(seed), adata.obs["time"].to_numpy()
    some = [rng.permutation(np.flatnonzero(times == t))[:MOST_CELLS] for t in np.unique(times)]
    return adata[np.sort(np.concatenate(some))].copy()


def left_out(name: str, times: list[float] | None, n_steps: int, seed: int) -> pd.DataFrame:
    """Shares of the scores of the nearest snapshot by method, means over the times, and those of each time."""
    case = DATA[name](seed)
    adata, mass = (thinned(case.adata, seed), "equal") if name.startswith("eb") else (case.adata, "counts")
    found = vgfm_sc.tl.holdout(
        adata, case.time_key, times=times, use_rep=case.use_rep, methods=METHODS, mass=mass, match_steps=n_steps,
        fit_steps=0, score=False, seed=seed, progress=False,
    )  # fmt: skip
    by = {score: found.pivot(index="prediction", columns="time", values=score) for score in ("energy", "w1")}
    share = {score: table / table.loc["nearest"] for score, table in by.items()}
    means = pd.DataFrame({score: table.mean(axis=1) for score, table in share.items()})
    return means.join(share["energy"].add_prefix("energy at ")).sort_values("energy").reset_index()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["courses", "times"])
    parser.add_argument("names", nargs="*", help="courses, or data sets")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 10, 30])
    parser.add_argument("--times", type=float, nargs="+", help="times to leave out; all by default")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--fit-steps", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.names or (COURSES if given.what == "courses" else DATA):
        began = time.perf_counter()
        if given.what == "courses":
            rows = [distances(name, d, given.fit_steps, given.steps, given.seed) for d in given.dims]
            table = pd.DataFrame(sum(rows, []))
        else:
            table = left_out(name, given.times, given.steps, given.seed)
        print(f"\n{name}, seed {given.seed}, {time.perf_counter() - began:.0f} s")
        print(table.round(3).to_string(index=False), flush=True)
