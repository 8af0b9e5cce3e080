from __future__ import annotations

import io
from collections.abc import Callable

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import _anndata, pl

N = (10, 20, 30)
"""Cells at days 0, 1 and 3."""


def clone_scores() -> dict:
    """What `tl.compare_clones` writes of three clones, two intervals and the fates b and c."""
    fates = [("fates", t, 3.0, name, score) for t in (0.0, 1.0, np.nan) for name in "bc" for score in ("auroc", "ece")]
    rows = [("descendants", 0.0, 1.0, "", "auroc"), ("descendants", 1.0, 3.0, "", "auroc"), *fates]
    table = pd.DataFrame(rows, columns=["of", "time", "to", "cluster", "score"])
    table["value"], table["shuffled"], table["shuffled_sd"] = np.linspace(0.6, 0.9, len(rows)), 0.5, 0.02
    table["n_cells"], table["n_clones"] = 20, 3
    growth = {"clone": list("xyz") * 2, "time": np.repeat([0.0, 1.0], 3), "to": np.repeat([1.0, 3.0], 3)}
    growth |= {"n_cells": [1, 2, 3, 4, 5, 10], "n_cells_later": [2, 2, 2, 4, 4, 10]}
    growth |= {"predicted": np.linspace(0, 1, 6), "observed": np.linspace(-0.5, 1.5, 6), "shuffled": 0.3}
    of_clones = {"clone": np.repeat(list("xyz"), 2), "cluster": list("bc") * 3, "n_cells": [4, 4, 8, 8, 2, 2]}
    of_clones |= {"n_cells_last": [2, 2, 4, 4, 1, 1], "predicted": [0.1, 0.9, 0.5, 0.5, 0.8, 0.2]}
    of_clones |= {"observed": [0.0, 1.0, 0.4, 0.6, 1.0, 0.0], "shuffled": [0.5, 0.5, 0.6, 0.4, 0.4, 0.6]}
    bins = {"cluster": list("bccb"), "tenth": [0, 1, 8, 9], "n_cells": [10, 4, 4, 10]}
    bins |= {"predicted": [0.05, 0.15, 0.85, 0.95], "observed": [0.1, 0.2, 0.7, 0.9], "shuffled": 0.5}
    made = {"table": table} | {k: pd.DataFrame(v) for k, v in (("growth", growth), ("fates", of_clones))}
    return {"clone_key": "clone", **made, "calibration": pd.DataFrame(bins)}


def effects(**columns) -> pd.DataFrame:
    """A table of effects on the fates b and c, on mass and on energy, for each of the ``names`` if there are any."""
    rows = len(next(iter(columns.values()), [0]))
    table = {"effect": np.repeat(["fate", "fate", "mass", "energy"], rows), "fate": np.repeat(["b", "c", "", ""], rows)}
    table |= {name: np.tile(values, 4) for name, values in columns.items()}
    estimate = np.linspace(-1, 1, 4 * rows)
    table |= {"unchanged": 0.5, "changed": 0.6, "estimate": estimate, "low": estimate - 0.3, "high": estimate + 0.2}
    return pd.DataFrame({**table, "t": 2.0, "pvals": 0.02})


def perturbation(rng: np.random.Generator) -> dict:
    """What `tl.perturb` writes of a change of two genes."""
    positions = np.cumsum(rng.normal(0.4, 0.3, (2, 5, 6, 2)), axis=1).astype(np.float32)
    mass = np.exp(np.cumsum(np.append(np.zeros((2, 1, 6)), rng.normal(0.4, 0.3, (2, 4, 6)), axis=1), axis=1))
    replicates = effects(replicate=[0, 1])[["replicate", "effect", "fate", "estimate"]]
    growth = {"time": [0.25, 0.75, 1.5, 2.5], "unchanged": 0.1, "changed": [0.2, 0.3, 0.0, 0.1]}
    growth |= {"estimate": [0.1, 0.2, -0.1, 0.0], "low": [0.0, 0.1, -0.2, -0.1], "high": [0.2, 0.3, 0.0, 0.1]}
    stored = {"times": np.array([0.0, 0.5, 1.0, 2.0, 3.0]), "held": True, "cluster_key": "type", "of": "cells"}
    for k, name in enumerate(("", "_changed")):
        stored |= {f"positions{name}": positions[k], f"positions{name}_umap": np.sin(positions[k]) + 5}
        stored[f"mass{name}"] = mass[k].astype(np.float32)
    genes = {"names": ["g0", "g1"], "before": [1.5, 0.25], "after": [0.0, 2.0], "carried": [0.5, 1.0]}
    tables = {
        "table": effects(),
        "genes": pd.DataFrame(genes),
        "replicates": replicates.rename(columns={"estimate": "value"}),
    }
    tables["growth"] = pd.DataFrame({**growth, "t": 2.0, "pvals": 0.02})
    return {
        **stored,
        **tables,
        "growth_replicates": np.zeros((2, 4), np.float32),
        "outside_start": 0.1,
        "outside_end": 0.2,
    }


def compared() -> dict:
    """What `tl.compare` writes of three clusters, two of which have cells at the end."""
    rows = [(effect, cluster) for effect in ("growth", "velocity") for cluster in "abc"]
    table = pd.DataFrame([*rows, ("fate", "b"), ("fate", "c"), ("mass", "")], columns=["effect", "cluster"])
    tested = {"low": -0.3, "high": 0.4, "t": 2.0, "pvals": 0.02}
    table = table.assign(reference=0.5, other=0.6, estimate=np.linspace(-0.2, 0.3, len(table)), **tested)
    table["pvals_adj"] = 0.04
    mass = pd.DataFrame(
        {"time": [0.0, 1.0, 3.0], "reference": 1.0, "other": [1.0, 1.2, 1.5], "estimate": [0, 0.2, 0.4]}
    )
    mass = mass.assign(low=mass["estimate"] - 0.1, high=mass["estimate"] + 0.1, t=2.0, pvals=0.02)
    names = {"reference": "control", "other": "treated", "of": "samples", "cluster_key": "type"}
    return {"table": table, "mass": mass, **names}


def screened() -> dict:
    """What `tl.screen` writes of three genes."""
    table = effects(names=["g2", "g0", "g1"])
    table["pvals_adj"] = np.tile([0.01, 0.2, 0.04], 4)
    table = table.assign(carried=0.5, outside_start=0.1, outside_end=0.2)
    return {"table": table, "cluster_key": "type", "held": True, "of": "cells"}


@pytest.fixture
def made() -> ad.AnnData:
    """60 cells at days 0, 1 and 3 with all that plots can draw, written by hand: no torch, and all numbers known.

    `written` is what the tools write, and `test_written.py` compares the two.
    """
    rng = np.random.default_rng(0)
    n, points = sum(N), np.array([0.0, 1.0, 3.0])
    day = np.repeat(points, N)
    x = 0.3 * rng.normal(size=(n, 2)) + day[:, None] * [2, 1]  # three clouds: stream lines on wide ones take long
    numbers = {"growth": rng.normal(0.3, 1, n), "mass": np.exp(rng.normal(size=n))}
    numbers |= {f"{name}_sd": rng.gamma(2.0, size=n) for name in ("growth", "velocity")}
    numbers["landscape"] = (x**2).sum(axis=1) / 2
    numbers["growth_difference"] = np.where(day > 0, rng.normal(0.2, 0.5, n), np.nan)
    obs = pd.DataFrame({"day": day, "type": pd.Categorical(rng.choice(list("abc"), n))}, [f"cell{k}" for k in range(n)])
    obs = obs.assign(**{f"vgfm_{name}": values.astype(np.float32) for name, values in numbers.items()})
    adata = ad.AnnData(rng.gamma(1.0, size=(n, 3)), obs, pd.DataFrame(index=["g0", "g1", "g2"]))
    adata.layers["counts"] = rng.poisson(3.0, size=(n, 3)).astype(float)
    adata.obsm["X_r"], adata.obsm["X_umap"] = x, np.sin(x) + 5
    for basis in ("r", "umap"):
        adata.obsm[f"vgfm_velocity_{basis}"] = rng.normal(size=(n, 2)).astype(np.float32)
    shares = rng.dirichlet([1, 1], n).astype(np.float32)
    adata.obsm["vgfm_fate"] = pd.DataFrame(shares, adata.obs_names, ["b", "c"])

    times = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    positions = np.cumsum(rng.normal(0.4, 0.3, (5, 7, 2)), axis=0)
    mass = np.exp(np.cumsum(np.vstack([np.zeros(7), rng.normal(0.4, 0.3, (4, 7))]), axis=0))
    trajectories = {
        "times": times,
        "positions": positions.astype(np.float32),
        "positions_umap": (np.sin(positions) + 5).astype(np.float32),
        "mass": mass.astype(np.float32),
        "cells": np.asarray(adata.obs_names[:7], dtype=str),
        "n_start": 7,
        "share": 1.0,
        "mean_mass": np.array([1.0, 1.4, 2.0, 2.6, 3.0]),
        "labels": {
            "type": {"codes": rng.integers(0, 3, (5, 7)).astype(np.int32), "categories": np.array(["a", "b", "c"])}
        },
        "values": {"names": np.array(["g0", "g1"]), "values": rng.gamma(2.0, size=(5, 7, 2)).astype(np.float32)},
    }
    scores = {"time": points[1:], "energy": [-0.0123, 0.123456], "energy_floor": [0.05, 0.0567], "spread": [0.9, 1.015]}
    scores |= {"w1": [0.5, 0.123456], "w1_floor": [0.2, 0.2], "rme": [0.0, 0.0]}
    adata.uns["vgfm"] = {
        "package": _anndata.MARK,
        "params": {"time_key": "day", "use_rep": "X_r", "n_models": 2},
        "time_points": points,
        "scaling": {"centre": np.zeros(2)},
        "history": {
            "matching": {name: np.geomspace(1, 0.1, 6).astype(np.float32) for name in ("velocity", "growth")},
            "fitting": {"loss": np.array([0.2, -0.1]), "check_step": np.array([0, 2]), "score": np.array([0.3, 0.2])},
        },
        "weights": {},
        "trajectories": trajectories,
        "evaluation": pd.DataFrame(
            {**scores, "mass_predicted": [20.0, 30.0], "mass_observed": [20.0, 30.0]}, index=["0", "1"]
        ),
        "landscape": {"time": np.nan},
        "fate": {"cluster_key": "type", "clusters": np.array(["b", "c"])},
        "clones": clone_scores(),
        "perturbations": {"g0+g1": perturbation(rng)},
        "screen": screened(),
        "comparison": compared(),
    }
    table = pd.DataFrame(
        {
            "time": np.repeat([1.0, 2.0], 3),
            "prediction": ["vgfm", "otcfm", "linear"] * 2,
            "energy": [-0.5, 1.0, 2.0, 0.5, 1.5, 2.5],
            "spread": [1.1, 0.9, 0.8, 1.0, 0.7, 0.6],
            "w1": [1.0, 2.0, 3.0, 1.5, 2.5, 3.5],
            "mass_predicted": 20.0,
            "mass_observed": 20.0,
        },
        index=[str(k) for k in range(6)],
    )
    adata.uns["vgfm_holdout"] = {"package": _anndata.MARK, "scores": table}
    return adata


@pytest.fixture(scope="session")
def written(simulated) -> ad.AnnData:
    """`simulated` with what the tools write for plots; copy before changing."""
    from vgfm_sc import tl

    adata = simulated.copy()
    x = adata.obsm["X_genes"]
    adata.obs["type"] = pd.Categorical(np.where(x[:, 0] < 1, "a", np.where(x[:, 1] < 1, "b", "c")))
    adata.obsm["X_umap"] = np.column_stack([x[:, 0] * (1 + x[:, 1] ** 2), x[:, 1]])
    adata.varm["X_genes"] = np.eye(2)  # the representation is the genes
    tl.perturb(adata, {"gene1": 0.5, "gene2": ("scale", 0.5)}, "type", n_cells=10, n_replicates=2, key_added="g0+g1")
    tl.screen(adata, ["gene1", "gene2"], "type", n_cells=10, n_replicates=2, progress=False)
    tl.project(adata)
    tl.annotate(adata, ["type", "gene1", "gene2"])
    tl.fate(adata, "type")
    adata.obs["clone"] = np.resize(list("vwxyz"), adata.n_obs)
    tl.compare_clones(adata, "clone")
    tl.landscape(adata)
    tl.evaluate(adata, max_cells=50)
    tiny = {"use_rep": "X_genes", "width": 8, "depth": 2, "match_steps": 2, "fit_steps": 0, "progress": False}
    some = adata[::4].copy()
    tl.holdout(some, "time", times=1.0, max_cells=50, **tiny)
    adata.uns["vgfm_holdout"] = some.uns["vgfm_holdout"]
    both = adata.copy()
    both.obs["drug"] = np.resize(["control", "treated"], both.n_obs)
    tl.fit(both, "time", condition_key="drug", **{**tiny, "score": False})
    with pytest.warns(UserWarning, match="one model"):
        tl.compare(both, "control", "treated", cluster_key="type")
    adata.uns["vgfm"] = {**adata.uns["vgfm"], "comparison": both.uns["vgfm"]["comparison"]}
    adata.obs["vgfm_growth_difference"] = both.obs["vgfm_growth_difference"]
    for name in ("growth", "velocity"):  # as an ensemble leaves them
        adata.obs[f"vgfm_{name}_sd"] = np.linspace(0, 1, adata.n_obs, dtype=np.float32)
    return adata


@pytest.fixture
def shown(monkeypatch) -> list:
    """The open figures at each call of ``plt.show()``, as if there were windows."""
    calls = []
    monkeypatch.setattr(plt, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.get_fignums()))
    return calls


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """The pixels of a plot, by its name."""

    def pixels(name: str, *args, **arguments) -> np.ndarray:
        fig, file = getattr(pl, name)(*args, **arguments, return_fig=True), io.BytesIO()
        fig.set_layout_engine("none")  # takes longer than all else
        fig.savefig(file, format="rgba", dpi=40)
        plt.close(fig)
        return np.frombuffer(file.getvalue(), np.uint8)

    return pixels
