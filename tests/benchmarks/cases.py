"""The data sets that benchmarks run on, each with its truth where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData

import vgfm_sc

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


class Case(NamedTuple):
    """``growth``: true growth rate of each cell, or `None`."""

    adata: AnnData
    time_key: str
    use_rep: str
    growth: np.ndarray | None = None


def table(name: str) -> AnnData:
    """A csv of ``SHARED`` as AnnData; ``samples`` is the time, the other columns the representation."""
    frame = pd.read_csv(SHARED / f"{name}.csv")
    x = frame.drop(columns="samples").to_numpy()
    obs = pd.DataFrame({"time": frame["samples"].to_numpy()}, index=frame.index.astype(str))
    return AnnData(np.zeros((len(frame), 1), np.float32), obs=obs, obsm={"X_data": x})


def gene() -> Case:
    """The published draw of the toggle switch."""
    adata = table("simulation_gene")
    active = adata.obsm["X_data"][:, 1] ** 2
    return Case(adata, "time", "X_data", 8 * np.log1p(0.0625 * active / (1 + active)))


def toggle(seed: int = 0) -> Case:
    """A fresh draw of the toggle switch."""
    adata = vgfm_sc.datasets.toggle_switch(seed=seed)
    return Case(adata, "time", "X_genes", adata.obs["true_growth"].to_numpy())


def gaussian(seed: int = 0) -> Case:
    """Gaussian mixture in 1,000 dimensions."""
    adata = vgfm_sc.datasets.gaussian_mixture(seed=seed)
    return Case(adata, "time", "X_gaussian", adata.obs["true_growth"].to_numpy())


def branching(seed: int = 0) -> Case:
    """Branching process in 10 dimensions, uneven times."""
    adata = vgfm_sc.datasets.branching(times=(0.0, 1.0, 1.5, 2.0, 3.0), seed=seed)
    return Case(adata, "time", "X_state", adata.obs["true_growth"].to_numpy())


CASES = {
    "gene": gene,
    "dyngen": lambda: Case(table("dyngen"), "time", "X_data"),
    "mouse": lambda: Case(table("mouse_hematopoiesis"), "time", "X_data"),
    "toggle": toggle,
    "branching": branching,
    "gaussian": gaussian,
}
