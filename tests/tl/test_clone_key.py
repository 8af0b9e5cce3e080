"""Lineage barcodes that bind the couplings of a fit."""

from __future__ import annotations

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import datasets, get, methods, tl


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Copy before changing."""
    adata = datasets.branching(n_cells=60, n_dims=3, times=(0.0, 0.5, 2.0), seed=0)
    fate = adata.obs["true_fate"].astype(str)
    known = np.random.default_rng(0).random(adata.n_obs) < 0.6
    adata.obs["clone"] = pd.Categorical(np.where(known, fate, None))
    at = adata.obs["time"].to_numpy()
    adata.obs["once"] = pd.Categorical(np.where(known & (at == 2), "late", adata.obs["clone"].astype(str)))
    adata.obs["once"] = adata.obs["once"].cat.remove_categories("nan")
    adata.obs["score"] = at + 0.5
    return adata


@pytest.fixture(scope="module")
def quick(small) -> dict:
    return {**small, "use_rep": "X_state", "match_steps": 20, "fit_steps": 0}


def across(adata) -> list[float]:
    """Share of the mass between barcoded cells that goes to another clone, in each interval."""
    clone, shares = adata.obs["clone"].cat.codes.to_numpy(), []
    at = adata.obs["time"].to_numpy()
    for (t0, t1), plan in get.couplings(adata).items():
        entries = plan.tocoo()
        c0, c1 = clone[at == t0][entries.row], clone[at == t1][entries.col]
        known = (c0 >= 0) & (c1 >= 0)
        shares.append(entries.data[known & (c0 != c1)].sum() / entries.data[known].sum())
    return shares


@pytest.mark.parametrize("method", ["vgfm", "otcfm", methods.bridge(sigma=0.1)])
def test_barcoded_cells_are_coupled_to_their_own_clone(data, quick, method):
    told, untold = (tl.fit(data, "time", clone_key=key, method=method, copy=True, **quick) for key in ("clone", None))
    assert max(across(told)) < 0.2 * min(across(untold))
    assert told.uns["vgfm"]["params"]["clone_key"] == "clone"
    assert "clone_key" not in untold.uns["vgfm"]["params"]


def test_a_clone_at_one_time_alone_says_nothing_and_the_fit_tells_so(data, quick, caplog):
    with caplog.at_level(logging.INFO, "vgfm_sc"):
        told = tl.fit(data, "time", clone_key="once", copy=True, **quick)
    n = data.obs["once"].notna().sum()
    assert f"obs['once']: {n} of {data.n_obs} cells have a barcode; 1 of 3 clones were seen at one" in caplog.text
    last = data[data.obs["time"] > 0].copy()
    last.obs["once"] = data.obs["once"].cat.add_categories("x").where(data.obs["time"] == 2, "x")
    assert max(across(told)[:1]) < 0.05 < across(told)[1]


def test_members_of_an_ensemble_and_cells_kept_for_training_keep_their_clones(data, quick):
    calls = []

    def coupling(x0, x1, mass0, mass1, generator, *, clones):
        calls.append((x0.numpy().copy(), clones[0]))
        return mass0[:, None] * mass1 / mass0.sum()

    method = methods.Method(coupling, takes_clones=True)
    adata = tl.fit(data, "time", clone_key="clone", method=method, n_models=2, validation=0.2, copy=True, **quick)
    unitless = get.model(adata).scaling.to_unitless(adata.obsm["X_state"])
    codes = data.obs["clone"].cat.codes.to_numpy()
    assert len(calls) == 4
    for x0, found in calls:
        which = np.abs(x0[:, None] - unitless[None]).sum(axis=2).argmin(axis=1)
        assert (found == codes[which]).all()


def test_only_the_method_itself_is_told_of_barcodes_when_times_are_left_out(data, quick):
    told, plain = (tl.holdout(data, "time", clone_key=key, **quick).set_index("prediction") for key in ("clone", None))
    for name in ("otcfm", "linear", "nearest"):
        assert told.loc[name].equals(plain.loc[name])
    assert told.loc["vgfm", "w1"] != plain.loc["vgfm", "w1"]


def test_clones_that_only_the_time_left_out_links_are_of_no_use_to_holdout(data, quick):
    adata = data.copy()
    adata.obs["linked"] = adata.obs["clone"].astype(object)
    adata.obs.loc[adata.obs["time"] == 2, "linked"] = "late"
    plain = tl.holdout(data, "time", **quick)
    assert tl.holdout(adata, "time", clone_key="linked", **quick).equals(plain)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"clone_key": "barcode"}, KeyError, "'barcode' not found in adata.obs"),
        ({"clone_key": "score"}, TypeError, "floating-point numbers"),
        (
            {"clone_key": "clone", "method": methods.Method(lambda *cells: 1)},
            ValueError,
            r"method 'custom' does not take clones.*takes_clones=True",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_work(data, quick, arguments, error, message):
    adata = data.copy()
    with pytest.raises(error, match=message):
        tl.fit(adata, "time", **arguments, **quick)
    assert "vgfm" not in adata.uns
