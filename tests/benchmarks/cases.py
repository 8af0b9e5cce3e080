"""The data sets that benchmarks run on, each with its truth where there is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.cluster.vq import kmeans2, vq

import vgfm_sc

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


class Case(NamedTuple):
    """``growth``: true growth rate of each cell, or `None`.

    ``truth``: what the true dynamics make of the first snapshot at the end: positions, masses, and the centres of the
    components there; or `None`. ``n_branches``: clusters whose masses are compared where growth is not known.
    """

    adata: AnnData
    time_key: str
    use_rep: str
    growth: np.ndarray | None = None
    truth: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    n_branches: int = 0


def table(name: str, n_branches: int = 0, seed: int = 0) -> Case:
    """A csv of ``SHARED``; ``samples`` is the time, the other columns the representation. ``seed`` changes nothing."""
    del seed
    frame = pd.read_csv(SHARED / f"{name}.csv")
    x = frame.drop(columns="samples").to_numpy()
    obs = pd.DataFrame({"time": frame["samples"].to_numpy()}, index=frame.index.astype(str))
    adata = AnnData(np.zeros((len(frame), 1), np.float32), obs=obs, obsm={"X_data": x})
    return Case(adata, "time", "X_data", n_branches=n_branches)


def gene(seed: int = 0) -> Case:
    """The published draw of the toggle switch."""
    case = table("simulation_gene", seed=seed)
    active = case.adata.obsm["X_data"][:, 1] ** 2
    return case._replace(growth=8 * np.log1p(0.0625 * active / (1 + active)))


def toggle(seed: int = 0) -> Case:
    """A fresh draw of the toggle switch."""
    adata = vgfm_sc.datasets.toggle_switch(seed=seed)
    return Case(adata, "time", "X_genes", adata.obs["true_growth"].to_numpy())


def gaussian(seed: int = 0, n_dims: int = 1000) -> Case:
    """Gaussian mixture, in 1,000 dimensions as published or in others."""
    adata = vgfm_sc.datasets.gaussian_mixture(n_dims=n_dims, seed=seed)
    x = adata.obsm["X_gaussian"][adata.obs["time"].to_numpy() == 0]
    centres = np.zeros((3, x.shape[1]))
    centres[0, 0], centres[1, 0], centres[2, 1] = 1.0, -1.0, 2.5
    upper = x[:, 1] > 1.25
    side = np.where(np.arange(len(x)) % 2, 1.0, -1.0)  # which half goes where is not told by position
    moved = x.copy()
    moved[~upper, 0] += side[~upper]
    truth = moved, np.where(upper, 10.0, 1.0), centres
    return Case(adata, "time", "X_gaussian", adata.obs["true_growth"].to_numpy(), truth)


def branching(seed: int = 0) -> Case:
    """Branching process in 10 dimensions, uneven times."""
    adata = vgfm_sc.datasets.branching(times=(0.0, 1.0, 1.5, 2.0, 3.0), seed=seed)
    return Case(adata, "time", "X_state", adata.obs["true_growth"].to_numpy())


def by_time(case: Case) -> list[np.ndarray]:
    """The snapshots of a data set."""
    time = case.adata.obs[case.time_key].to_numpy()
    return [np.asarray(case.adata.obsm[case.use_rep][time == t]) for t in np.unique(time)]


def branches(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """The number of the branch of each position: the nearest of the centres of k-means on the last snapshot."""
    time = case.adata.obs[case.time_key].to_numpy()
    last = case.adata.obsm[case.use_rep][time == time.max()]
    centres, _ = kmeans2(last, case.n_branches, minit="++", rng=np.random.default_rng(0))
    return lambda x: vq(x, centres)[0]


CASES = {
    "gene": gene,
    "dyngen": partial(table, "dyngen", 3),
    "mouse": partial(table, "mouse_hematopoiesis", 4),
    "toggle": toggle,
    "branching": branching,
    "gaussian": gaussian,
}
"""Functions of a seed, which draws the data where they are simulated."""


RATES = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
"""Growth of the clusters of `clusters`, per unit of time."""


def clusters(n_cells: int, n_dims: int, times: tuple[float, ...], seed: int = 0) -> Case:
    """Five clusters that drift and grow each at its own rate, in ten dimensions hidden in ``n_dims`` noisy ones.

    Every snapshot has about ``n_cells`` cells: what some clusters lose others gain.
    """
    rng = np.random.default_rng(seed)
    centres, drifts = 2.5 * rng.standard_normal((5, 10)), 0.5 * rng.standard_normal((5, 10))
    loadings = np.linalg.qr(rng.standard_normal((n_dims, 10)))[0].T
    x, of = [], []
    for t in times:
        counts = np.round(n_cells / 5 * np.exp(RATES * (t - times[0]))).astype(int)
        cluster = np.repeat(np.arange(5), counts)
        state = centres[cluster] + drifts[cluster] * t + rng.standard_normal((len(cluster), 10))
        noisy = (state @ loadings).astype(np.float32)
        noisy += 0.3 * rng.standard_normal(noisy.shape, dtype=np.float32)
        x.append(noisy)
        of.append(cluster)
    cluster = np.concatenate(of)
    obs = pd.DataFrame({"time": np.repeat(times, [len(part) for part in x]), "cluster": pd.Categorical(cluster)})
    obs.index = obs.index.astype(str)
    adata = AnnData(np.zeros((len(obs), 1), np.float32), obs=obs, obsm={"X_noisy": np.concatenate(x)})
    return Case(adata, "time", "X_noisy", RATES[cluster])
