"""Fits of several conditions: what each cell gets is of its own, and every tool knows which condition is meant."""

from __future__ import annotations

import inspect

import anndata as ad
import numpy as np
import pytest

from vgfm_sc import datasets, get, pl, tl
from vgfm_sc.core.training import matching
from vgfm_sc.core.training import train as training
from vgfm_sc.tl import _entries

TINY = {"width": 16, "depth": 2, "match_steps": 20, "match_size": 32, "fit_steps": 2, "fit_cells": 40}
QUICK = {"use_rep": "X_state", "condition_key": "condition", "progress": False, **TINY}
BOTH = ["control", "treated"]


def of(adata, condition, time=None):
    """Mask of the cells of a condition, at one time or at all."""
    mask = (adata.obs["condition"] == condition).to_numpy()
    return mask if time is None else mask & (adata.obs["time"] == time).to_numpy()


@pytest.fixture(scope="module")
def cells():
    return datasets.branching(
        n_cells=40, n_dims=3, times=(0, 1, 2), n_genes=25, n_clones=10, treatment="growth", seed=0
    )


@pytest.fixture(scope="module")
def whole(cells):
    adata = tl.fit(cells, "time", copy=True, n_models=2, **QUICK)
    adata.obsm["X_umap"] = adata.obsm["X_state"][:, :2] ** 3
    tl.fate(adata, "cell_type")
    return adata


@pytest.fixture(scope="module")
def started(cells):
    """Treated cells have no time 0."""
    adata = cells[~of(cells, "treated", 0)].copy()
    with pytest.warns(
        UserWarning, match=r"\['treated'\] have no cells at the first time, 0.*40 cells of \['control'\]"
    ):
        tl.fit(adata, "time", **QUICK)
    return adata


def test_what_is_written_of_a_cell_is_that_of_its_own_condition(whole):
    velocity, growth = whole.obsm["vgfm_velocity_state"], whole.obs["vgfm_growth"].to_numpy()
    asked = {name: get.model(whole, condition=name)(whole.obs["time"].to_numpy(float), whole.obsm["X_state"])
             for name in BOTH}  # fmt: skip
    for name, other in zip(BOTH, BOTH[::-1], strict=True):
        mine = of(whole, name)
        np.testing.assert_allclose(velocity[mine], asked[name][0][mine], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(growth[mine], asked[name][1][mine], rtol=1e-4, atol=1e-5)
        assert np.abs(growth[mine] - asked[other][1][mine]).max() > 0.01
    assert np.isfinite(whole.obs["vgfm_growth_sd"]).all() and (whole.obs["vgfm_growth_sd"] > 0).all()


def test_couplings_and_totals_stay_within_a_condition(whole):
    plan = whole.obsp["vgfm_coupling"].tocoo()
    codes = whole.obs["condition"].cat.codes.to_numpy()
    assert plan.nnz and (codes[plan.row] == codes[plan.col]).all()
    n = {name: [int(of(whole, name, t).sum()) for t in (0, 1, 2)] for name in BOTH}
    for name in BOTH:
        found = get.couplings(whole, condition=name)
        assert [p.shape for p in found.values()] == [(n[name][0], n[name][1]), (n[name][1], n[name][2])]
        for p in found.values():
            np.testing.assert_allclose(np.asarray(p.sum(axis=0)).ravel(), 1, rtol=1e-3)
    scores = tl.evaluate(whole.copy(), max_cells=50)
    assert scores["condition"].tolist() == ["control"] * 2 + ["treated"] * 2
    assert scores["mass_observed"].tolist() == n["control"][1:] + n["treated"][1:]
    assert (scores["rme"] < 1e-4).all()
    about = whole.uns["vgfm"]["couplings"]
    assert about["condition"].tolist() == ["control"] * 2 + ["treated"] * 2 and about["time"].tolist() == [0, 1, 0, 1]


def test_cells_of_one_condition_can_be_asked_alone(whole):
    """They give what they give among the others, to the last bit."""
    alone = whole[of(whole, "treated")].copy()
    tl.fate(alone, "cell_type")
    np.testing.assert_array_equal(
        alone.obsm["vgfm_fate"].to_numpy(), whole.obsm["vgfm_fate"].to_numpy()[of(whole, "treated")]
    )
    both = whole.copy()
    tl.landscape(both)
    tl.landscape(alone)
    np.testing.assert_array_equal(alone.obs["vgfm_landscape"], both.obs["vgfm_landscape"][of(whole, "treated")])
    tl.simulate(alone, n_cells=10)
    tl.simulate(both, n_cells=10, condition="treated")
    for name in ("positions", "mean_mass", "share"):
        np.testing.assert_array_equal(
            alone.uns["vgfm"]["trajectories"][name], both.uns["vgfm"]["trajectories"][name], err_msg=name
        )


def test_cells_of_control_can_be_followed_under_treatment(whole):
    adata = whole.copy()
    start = of(adata, "control", 0)
    ends = {}
    for name in [None, *BOTH]:
        tl.simulate(adata, start=start, n_cells=None, times=[2], condition=name)
        ends[name] = adata.uns["vgfm"]["trajectories"]
    assert ends[None]["condition"] == "control"
    np.testing.assert_array_equal(ends[None]["positions"], ends["control"]["positions"])
    model = get.model(adata, condition="treated")
    positions, mass = model.simulate(adata.obsm["X_state"][start], [0, 2], tol=1e-4)
    np.testing.assert_allclose(ends["treated"]["positions"], positions, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ends["treated"]["mass"], mass, rtol=1e-5)
    assert np.abs(ends["treated"]["mass"] - ends["control"]["mass"]).max() > 0.05


def test_fates_under_a_condition_are_those_of_its_own_cells_and_others_for_the_rest(whole):
    adata, own = whole.copy(), whole.obsm["vgfm_fate"].to_numpy()
    tl.fate(adata, "cell_type", condition="treated")
    under = adata.obsm["vgfm_fate"].to_numpy()
    assert adata.uns["vgfm"]["fate"]["condition"] == "treated"
    np.testing.assert_allclose(under.sum(axis=1), 1, rtol=1e-5)
    ends = of(whole, "treated", 2)
    np.testing.assert_array_equal(under[ends], own[ends])
    assert np.abs(under - own)[of(whole, "control")].max() > 0.01


def test_a_common_start_is_where_all_conditions_begin(started, cells):
    adata = started.copy()
    plans = get.couplings(adata, condition="treated")
    assert plans[0.0, 1.0].shape == (of(adata, "control", 0).sum(), of(adata, "treated", 1).sum())
    scores = tl.evaluate(adata, max_cells=50).set_index(["condition", "time"])
    assert (scores["rme"] < 1e-4).all()
    assert scores.loc["treated", "mass_observed"].tolist() == [of(adata, "treated", t).sum() for t in (1, 2)]
    tl.simulate(adata, condition="treated", n_cells=None)
    run = adata.uns["vgfm"]["trajectories"]
    assert run["share"] == 1 and run["n_start"] == 40
    assert run["mean_mass"][-1] == pytest.approx(of(adata, "treated", 2).sum() / 40, rel=1e-3)
    tl.fate(adata, "cell_type", direction="backward")
    assert np.isfinite(adata.obsm["vgfm_origin"].to_numpy()).all()
    tl.descendants(adata, of(adata, "control", 0), condition="treated")
    assert (adata.obs["vgfm_descendants"][of(adata, "treated")] > 0.99).all()
    assert adata.obs["vgfm_descendants"][of(adata, "control", 1)].isna().all()
    mass = adata.obs["vgfm_mass"][of(adata, "control", 0)]  # of cells of control, by the plan of control
    assert mass.sum() == pytest.approx(of(adata, "control", 1).sum(), rel=1e-3)


def test_conditions_may_have_times_of_their_own(cells):
    """Control ends at time 1, treated cells have no time 1: only what is between the times of a condition is known."""
    adata = cells[~of(cells, "treated", 1) & ~of(cells, "control", 2)].copy()
    tl.fit(adata, "time", **QUICK)
    assert list(get.couplings(adata, condition="treated")) == [(0.0, 2.0)]
    scores = tl.evaluate(adata, max_cells=50)
    assert scores[["condition", "time"]].values.tolist() == [["control", 1.0], ["treated", 2.0]]
    assert (scores["rme"] < 1e-4).all()
    with pytest.raises(ValueError, match="'control' has no cells with a cluster at 2"):
        tl.fate(adata, "cell_type")
    tl.fate(adata, "cell_type", condition="treated")
    with pytest.raises(ValueError, match="the fit covers 0 to 1"):
        tl.simulate(adata, condition="control", times=[2])


def test_totals_are_those_of_each_condition(cells):
    few = {**QUICK, "match_steps": 2, "fit_steps": 0, "score": False}
    given = {"control": {0: 1, 1: 2, 2: 3}, "treated": {0: 2, 1: 8, 2: 20}}
    adata = tl.fit(cells, "time", copy=True, mass=given, **few)
    scores = tl.evaluate(adata, max_cells=20).set_index(["condition", "time"])["mass_predicted"]
    np.testing.assert_allclose(scores, [2, 3, 8, 20], rtol=1e-3)
    column = cells.copy()
    column.obs["total"] = [given[c][t] for c, t in zip(cells.obs["condition"], cells.obs["time"], strict=True)]
    again = tl.fit(column, "time", copy=True, mass="total", **few)
    np.testing.assert_array_equal(again.obs["vgfm_growth"], adata.obs["vgfm_growth"])
    equal = tl.fit(cells, "time", copy=True, mass="equal", **few)
    np.testing.assert_allclose(tl.evaluate(equal, max_cells=20)["mass_predicted"], 1, rtol=1e-3)


def test_cells_judged_on_and_cells_drawn_again_are_of_every_condition(cells):
    adata = tl.fit(cells, "time", copy=True, validation=0.25, n_models=2, **{**QUICK, "match_steps": 2})
    for name in BOTH:
        for t in (0, 1):
            here = adata.obs["vgfm_mass"][of(adata, name, t)]
            assert here.isna().sum() == round(0.25 * len(here))


def test_a_checkpoint_is_taken_up_and_a_stored_fit_reads_back(cells, whole, tmp_path, monkeypatch):
    once = tl.fit(cells, "time", copy=True, checkpoint=tmp_path / "kept", **QUICK)
    np.testing.assert_array_equal(once.obs["vgfm_growth"], whole.obs["vgfm_growth"])
    monkeypatch.setattr(training, "_coupled", None)
    monkeypatch.setattr(matching, "match", None)
    again = tl.fit(cells, "time", copy=True, checkpoint=tmp_path / "kept", **QUICK)
    np.testing.assert_array_equal(again.obs["vgfm_growth"], once.obs["vgfm_growth"])
    whole.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    for name in BOTH:
        found, wanted = (get.model(a, condition=name, member=1)(1.0, cells.obsm["X_state"])[1] for a in (back, whole))
        np.testing.assert_array_equal(found, wanted)
    tl.evaluate(back, max_cells=20)


def test_genes_and_gene_space_know_conditions(cells):
    adata = tl.fit(cells, "time", copy=True, **{**QUICK, "use_rep": None})
    tl.gene_velocity(adata)
    tl.rank_genes(adata)
    tl.rank_genes(adata, "velocity")
    parts = [tl.regulators(adata, cells=of(adata, name)).set_index(["source", "target"])["weight"] for name in BOTH]
    shares = [of(adata, name).mean() for name in BOTH]
    mean = sum(share * part for share, part in zip(shares, parts, strict=True))
    both = tl.regulators(adata).set_index(["source", "target"])["weight"]
    np.testing.assert_allclose(both, mean[both.index], rtol=1e-4, atol=1e-6)


def test_genes_are_changed_in_one_condition(cells, unchanged):
    adata = tl.fit(cells, "time", copy=True, **{**QUICK, "use_rep": None})
    asked = {"cluster_key": "cell_type", "n_cells": 20, "n_replicates": 2, "start": 1}
    with unchanged(adata), pytest.raises(ValueError, match=r"are of \['control', 'treated'\].*condition='control'"):
        tl.perturb(adata, {"gene3": "knockout"}, **asked)
    ends = {}
    for name in BOTH:
        tl.perturb(adata, {"gene3": "knockout"}, condition=name, **asked)
        first = adata.uns["vgfm"]["perturbations"]["gene3"]["positions"][0]
        ends[name] = adata.uns["vgfm"]["perturbations"]["gene3"]["table"]["unchanged"].to_numpy()
        own = adata.X[of(adata, name, 1)]
        assert all((np.abs(own - x).max(axis=1) < 1e-4).any() for x in first)
    assert np.abs(ends["control"] - ends["treated"]).max() > 1e-3
    found = tl.screen(adata, ["gene3", "gene4"], condition="treated", progress=False, **asked)
    assert set(found["names"]) == {"gene3", "gene4"}


def test_genes_are_ranked_within_time_and_condition(whole):
    """The level of growth differs between conditions: a gene that tells them apart goes with growth over all cells."""
    adata = whole.copy()
    adata.X[:, 3] = of(adata, "treated") + 0.01 * np.random.default_rng(0).normal(size=adata.n_obs)
    scores = {}
    for within in (True, False):
        tl.rank_genes(adata, within_time=within)
        scores[within] = get.genes(adata).set_index("names").loc["gene3", "scores"]
    assert abs(scores[True]) < 0.2 < abs(scores[False])


ASKS = {
    "simulate": lambda adata, **which: tl.simulate(adata, n_cells=5, **which),
    "interpolate": lambda adata, **which: tl.interpolate(adata, 1.5, **which),
    "descendants": lambda adata, **which: tl.descendants(adata, (adata.obs["time"] == 1).to_numpy(), **which),
    "ancestors": lambda adata, **which: tl.ancestors(adata, (adata.obs["time"] == 1).to_numpy(), **which),
    "compare_clones": lambda adata, **which: tl.compare_clones(adata, "true_clone", n_shuffles=2, **which),
    "model": lambda adata, **which: get.model(adata, **which),
    "couplings": lambda adata, **which: get.couplings(adata, **which),
}
"""Calls that are about one condition."""

PER_CELL = {
    "evaluate": lambda adata: tl.evaluate(adata, max_cells=20),
    "fate": lambda adata: tl.fate(adata, "cell_type"),
    "growth_error": lambda adata: tl.growth_error(adata),
    "landscape": lambda adata: tl.landscape(adata),
    "project": lambda adata: tl.project(adata),
    "rank_genes": lambda adata: tl.rank_genes(adata),
    "annotate": lambda adata: (tl.simulate(adata, n_cells=5, condition="treated"), tl.annotate(adata, "cell_type")),
    "gene_velocity": None,  # of a fit in gene space, above
    "regulators": None,
}
"""Calls in which each cell counts under its own condition."""

OF_GENES = {"perturb", "screen"}
"""Calls about one condition, of a fit that leads back to genes."""

OF_TWO = {"compare"}
"""Calls that name two conditions."""

BEFORE = {"fit", "growth_prior", "holdout", "choose"}


def test_every_tool_is_about_one_condition_or_about_each_cells_own():
    assert {*ASKS, *PER_CELL, *OF_GENES, *OF_TWO} - {"model", "couplings"} == set(tl.__all__) - BEFORE - {"Choice"}


@pytest.mark.parametrize("call", ASKS)
def test_a_call_about_one_condition_asks_which_unless_all_cells_are_of_one(whole, unchanged, call):
    adata = whole.copy()
    with unchanged(adata), pytest.raises(ValueError, match=r"are of \['control', 'treated'\].*condition='control'"):
        ASKS[call](adata)
    ASKS[call](whole[of(whole, "control")].copy())
    if "condition" in inspect.signature(getattr(tl, call, None) or getattr(get, call)).parameters:
        ASKS[call](adata, condition="treated")
        with pytest.raises(ValueError, match=r"no condition 'other' of obs\['condition'\]. Conditions: \['control'"):
            ASKS[call](adata, condition="other")


@pytest.mark.parametrize("call", [name for name, ask in PER_CELL.items() if ask])
def test_a_call_about_each_cell_takes_all(whole, call):
    PER_CELL[call](whole.copy())


def test_a_coupling_that_does_not_converge_says_of_which_condition_it_is(whole):
    about = {name: value.copy() for name, value in whole.uns["vgfm"]["couplings"].items()}
    about["converged"][2] = False
    with pytest.warns(RuntimeWarning, match="The coupling of condition 'treated' from 0 to 1 did not converge"):
        _entries.warn(about, {}, whole.uns["vgfm"]["time_points"])


def test_a_method_is_chosen_for_one_condition_at_a_time(cells, unchanged):
    with unchanged(cells), pytest.raises(TypeError, match=r"Pass the cells of one.*adata.obs\['condition'\]"):
        tl.choose(cells, "time", **QUICK)


def test_a_time_left_out_is_predicted_for_each_condition(cells, started):
    adata, few = started.copy(), {**QUICK, "match_steps": 5, "fit_steps": 0, "score": False}
    with pytest.warns(UserWarning, match="have no cells at the first time"):
        table = tl.holdout(adata, "time", max_cells=40, **few)
    assert table["time"].unique().tolist() == [1] and len(table) == 2 * 4
    n = {name: of(adata, name, 1).sum() for name in BOTH}
    for name, rows in table.groupby("condition"):
        assert rows["prediction"].tolist() == ["vgfm", "otcfm", "linear", "nearest"]
        assert (rows["mass_observed"] == n[name]).all()
        nearest = rows.set_index("prediction").loc["nearest", "mass_predicted"]
        assert nearest == 40  # what it starts from, of treated cells those of control
    labels = [label.get_text() for label in pl.holdout(adata, show=False).get_xticklabels()]
    assert labels == ["1\ncontrol", "1\ntreated"]
    early = adata[~of(adata, "treated", 1)].copy()
    with pytest.raises(ValueError, match="lies between others in every condition"):
        tl.holdout(early, "time", **few)


def test_plots_show_the_condition_that_was_simulated(whole):
    adata = whole.copy()
    tl.simulate(adata, n_cells=None, condition="treated")
    tl.evaluate(adata, max_cells=20)
    ax = pl.mass(adata, show=False)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [of(adata, "treated", t).sum() for t in (0, 1, 2)])
    axes = pl.snapshots(adata, show=False)
    assert [len(panel.collections[1].get_offsets()) for panel in axes[:3]] == [
        of(adata, "treated", t).sum() for t in (0, 1, 2)
    ]


def test_integers_as_categories_and_booleans_name_conditions(cells):
    few = {**QUICK, "match_steps": 2, "fit_steps": 0}
    adata = cells.copy()
    adata.obs["condition"] = of(cells, "treated")
    tl.fit(adata, "time", **few)
    assert adata.uns["vgfm"]["params"]["conditions"].tolist() == ["False", "True"]
    get.model(adata, condition=True)
    plain = tl.fit(cells, "time", copy=True, **{**few, "condition_key": None})
    with pytest.raises(ValueError, match="no conditions. Run `vgfm_sc.tl.fit` with condition_key"):
        tl.fate(plain, "cell_type", condition="treated")
    with pytest.raises(ValueError, match="no conditions. Run `vgfm_sc.tl.fit` with condition_key"):
        get.model(plain, condition="treated")
