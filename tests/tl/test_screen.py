from __future__ import annotations

import anndata as ad
import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vgfm_sc import datasets, tl

FEW = {"n_cells": 20, "n_replicates": 4, "progress": False}


@pytest.fixture(scope="module")
def on_genes(small) -> ad.AnnData:
    """Copy before changing."""
    adata = datasets.regulatory_network(n_cells=40, seed=0)
    return tl.fit(adata, "time", copy=True, **{**small, "use_rep": None})


GENES = ["driver_a", "marker_b", "driver_b", "cycle"]


def test_each_gene_has_the_effects_that_perturb_gives_and_the_largest_come_first(on_genes):
    adata = on_genes.copy()
    table = tl.screen(adata, GENES, "branch", **FEW)
    pd.testing.assert_frame_equal(table, adata.uns["vgfm"]["screen"]["table"])
    assert len(table) == 4 * 4 and adata.uns["vgfm"]["screen"]["of"] == "cells"
    for _, part in table.groupby(["effect", "fate"]):
        assert sorted(part["names"]) == sorted(GENES)
        assert (np.diff(part["estimate"].abs()) <= 0).all()
        np.testing.assert_allclose(part["pvals_adj"], stats.false_discovery_control(part["pvals"]))
    for gene in GENES[:2]:
        alone = tl.perturb(adata, {gene: "knockout"}, "branch", n_cells=20, n_replicates=4)
        found = table[table["names"] == gene].set_index(["effect", "fate"])
        alone = alone.set_index(["effect", "fate"])
        for name in ("unchanged", "changed", "estimate", "low", "high"):  # at other times the integrator keeps
            np.testing.assert_allclose(found[name].reindex(alone.index), alone[name], atol=2e-3)
        stored = adata.uns["vgfm"]["perturbations"][gene]
        np.testing.assert_allclose(found["outside_start"], stored["outside_start"])
        np.testing.assert_allclose(found["carried"], stored["genes"]["carried"][0])


def test_genes_run_in_other_processes_with_the_same_result(on_genes, workers):
    here = tl.screen(on_genes.copy(), GENES[:2], "branch", **FEW)
    with joblib.parallel_config(**workers):
        there = tl.screen(on_genes.copy(), GENES[:2], "branch", **FEW)
    pd.testing.assert_frame_equal(there, here)


def test_other_changes_and_starts(on_genes):
    high = tl.screen(on_genes.copy(), GENES[:2], "branch", to=("overexpress", 0.9), held=False, start=1.0, **FEW)
    low = tl.screen(on_genes.copy(), GENES[:2], "branch", start=1.0, **FEW)
    assert not np.allclose(high["estimate"], low["estimate"])


def test_one_warning_names_all_genes(on_genes):
    with pytest.warns(UserWarning, match="signal_a to 0.*signal_b to 0") as heard:
        tl.screen(on_genes.copy(), ["signal_a", "driver_a", "signal_b"], "branch", **FEW)
    assert len(heard) == 1 and heard[0].filename == __file__


@pytest.mark.parametrize(
    ("genes", "arguments", "error", "message"),
    [
        (["driver_a", "driver_a"], {}, ValueError, r"more than once: \['driver_a'\]"),
        ([], {}, ValueError, "at least one"),
        ([3], {}, TypeError, "genes must be a name, got 3"),
        (["driver_c", "cycle"], {}, KeyError, r"1 of 2 genes.*'driver_c' \(nearest: \['driver_"),
        (["cycle"], {"to": "off"}, ValueError, "to must be a value"),
        (["cycle"], {"start": 4.0}, ValueError, "last time point"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(on_genes, unchanged, genes, arguments, error, message):
    with unchanged(on_genes), pytest.raises(error, match=message):
        tl.screen(on_genes, genes, "branch", **{**FEW, **arguments})
