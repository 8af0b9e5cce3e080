"""Every data set that methods are compared on by `everything.py`, with the cells and fates they are judged by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pandas as pd
import unseen
from anndata import AnnData
from cases import CASES, SHARED, Case, gaussian, toggle
from clones import judged

import vgfm_sc


class Data(NamedTuple):
    """``draw``: the case of a seed; ``fresh``: unseen cells of a seed, where a simulator has them.

    ``fates``: a score of fates after a fit. ``two_times``: none lies between others. ``whole``: whether the
    fit of the table is to all cells although there is no simulator, as those of published rows are.
    """

    draw: Callable[[int], Case]
    fresh: Callable[[int], Case] | None = None
    fates: Callable[[Case], float] | None = None
    mass: str = "counts"
    two_times: bool = False
    whole: bool = True


def branching(seed: int) -> Case:
    """Draws of one process in ten dimensions."""
    adata = unseen.branching(10, seed)
    return Case(adata, "time", "X_rep", adata.obs["true_growth"].to_numpy())


def real(load: Callable[[int], AnnData], n_dims: int, seed: int) -> Case:
    """Real cells; ``seed`` changes nothing."""
    del seed
    return Case(load(n_dims), "time", "X_rep")


def right(case: Case) -> float:
    """Share of cells whose likelier fate is the true one."""
    vgfm_sc.tl.fate(case.adata, "cell_type")
    likelier = case.adata.obsm["vgfm_fate"]["fate_a"].to_numpy() > 0.5
    return (likelier == (case.adata.obs["true_fate"] == "fate_a").to_numpy()).mean()


def as_clones(case: Case) -> float:
    """Correlation of fates with those of clones."""
    return judged(case, pd.read_csv(SHARED / "mouse_clonal_fates.csv"))[0]["r"]


def mixture(n_dims: int) -> Data:
    """The Gaussian mixture."""
    return Data(*2 * (partial(gaussian, n_dims=n_dims),), two_times=True)


DATA = {
    "gene": Data(CASES["gene"], toggle),
    "dyngen": Data(CASES["dyngen"]),
    "mouse": Data(CASES["mouse"], fates=as_clones),
    "branching10": Data(branching, branching, right),
    "eb30": Data(partial(real, unseen.embryoid, 30), mass="equal", whole=False),
    "gaussian10": mixture(10),
    "gaussian30": mixture(30),
    "toggle": Data(toggle, toggle),
    "reprogramming30": Data(partial(real, unseen.reprogramming, 30), whole=False),
    "gaussian1000": mixture(1000),
}
