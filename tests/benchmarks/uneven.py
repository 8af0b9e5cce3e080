"""What a clock of its own is worth to training where times are very unequal.

    python tests/benchmarks/uneven.py            # both processes
    python tests/benchmarks/uneven.py decay

``decay``: cells settle at a resting point, fast along one axis and slowly along the other, sampled about as far along
each time. ``drift``: two groups move evenly and grow at their own rates, so that time itself is the best clock. Five
times, the last interval ``ratio`` times the first; with the clock of `vgfm_sc.core.dynamics.clock`, and with time in
its place.
"""

from __future__ import annotations

import sys
from typing import NamedTuple
from unittest import mock

import numpy as np
from accuracy import machine
from anndata import AnnData

import vgfm_sc
from vgfm_sc.core.dynamics import clock

RATIOS = (12, 40, 150)
SEEDS = (0, 1)
N = 300


class Course(NamedTuple):
    """Cells, and their true velocity."""

    adata: AnnData
    velocity: np.ndarray


def course(snapshots: list[tuple[np.ndarray, np.ndarray]], times: np.ndarray) -> Course:
    x, v = (np.concatenate(part) for part in zip(*snapshots, strict=True))
    time = np.repeat(times, [len(cells) for cells, _ in snapshots])
    return Course(AnnData(np.zeros((len(x), 1), np.float32), obs={"time": time}, obsm={"X_pca": x}), v)


def decay(times: np.ndarray, rng: np.random.Generator) -> Course:
    rates, snapshots = 1.5 / times[[1, -1]], []
    for t in times:
        x = (3 + 0.3 * rng.standard_normal((int(N * np.exp(t / 2)), 2))) * np.exp(-rates * t)
        snapshots.append((x, -rates * x))
    return course(snapshots, times)


def drift(times: np.ndarray, rng: np.random.Generator) -> Course:
    snapshots = []
    for t in times:
        sizes = np.round(N / 2 * np.exp([-0.3 * t, 0.9 * t])).astype(int)
        side = np.repeat([-1.0, 1.0], sizes)
        v = np.column_stack([np.full(len(side), 3.0), side])
        snapshots.append((np.outer(side, [0, 2]) + v * t + 0.5 * rng.standard_normal(v.shape), v))
    return course(snapshots, times)


def scores(case: Course, seed: int) -> tuple[float, float]:
    """W1 over its floor, mean of the times; and root mean square error of velocity, as a share, mean of the times."""
    vgfm_sc.tl.fit(case.adata, "time", seed=seed, progress=False)
    table = vgfm_sc.tl.evaluate(case.adata)
    wrong = ((case.adata.obsm["vgfm_velocity_pca"] - case.velocity) ** 2).sum(axis=1)
    time = case.adata.obs["time"].to_numpy()
    at = [time == t for t in np.unique(time)]
    errors = [np.sqrt(wrong[here].mean() / (case.velocity[here] ** 2).sum(axis=1).mean()) for here in at]
    return (table["w1"] / table["w1_floor"]).mean(), float(np.mean(errors))


def main() -> None:
    print(machine())
    print(f"{'process':8}{'ratio':>6}{'clock':>8}{'W1 / floor':>12}{'velocity error':>16}")
    for process in [process for process in (decay, drift) if process.__name__ in (sys.argv[1:] or ("decay", "drift"))]:
        for ratio in RATIOS:
            times = np.concatenate([[0], np.cumsum(ratio ** np.linspace(0, 1, 4))])
            for name, ticks in (("ticks", clock.ticks), ("time", lambda _: None)):
                rows = []
                for seed in SEEDS:
                    case = process(times / times[-1], np.random.default_rng(seed))
                    with mock.patch.object(clock, "ticks", ticks):
                        rows.append(scores(case, seed))
                w1, error = np.mean(rows, axis=0)
                print(f"{process.__name__:8}{ratio:6}{name:>8}{w1:12.2f}{error:16.2f}", flush=True)


if __name__ == "__main__":
    main()
