from __future__ import annotations

import hashlib
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from vgfm_sc import datasets
from vgfm_sc.datasets import _bistable, _branching, _double_well, _mouse_hematopoiesis, _reprogramming


def small_ones(seed: int) -> dict:
    return {
        "toggle_switch": datasets.toggle_switch(n_per_branch=30, seed=seed),
        "branching": datasets.branching(n_cells=30, n_dims=3, n_genes=25, seed=seed),
        "regulatory_network": datasets.regulatory_network(n_cells=30, seed=seed),
        "gaussian_mixture": datasets.gaussian_mixture(n_dims=3, seed=seed),
        "bistable": datasets.bistable(n_cells=30, n_dims=3, seed=seed),
    }


def test_same_seed_gives_the_same_data_and_global_state_stays(same_random_state):
    first, again, other = small_ones(0), small_ones(0), small_ones(1)
    for name in first:
        np.testing.assert_array_equal(first[name].X, again[name].X)
        assert first[name].obs.equals(again[name].obs)
        for key in first[name].obsm:
            np.testing.assert_array_equal(first[name].obsm[key], again[name].obsm[key])
        assert not np.array_equal(first[name].X[:20], other[name].X[:20])


def test_names_of_cells_are_unique_and_values_finite():
    for adata in small_ones(0).values():
        assert adata.obs_names.is_unique and adata.var_names.is_unique
        assert np.isfinite(adata.X).all() and all(np.isfinite(adata.obsm[key]).all() for key in adata.obsm)


# knock-outs


@pytest.mark.parametrize(
    ("name", "size", "gene"),
    [("toggle_switch", "n_per_branch", "gene2"), ("regulatory_network", "n_cells", "driver_a")],
)
def test_a_gene_that_is_knocked_out_is_silent_and_the_others_start_as_without(name, size, gene):
    one, other = (getattr(datasets, name)(**{size: 100}, knockout=gone, seed=3) for gone in (None, gene))
    start = (one.obs["time"] == 0).to_numpy()
    rest = one.var_names != gene
    n = start.sum()
    assert (other[:, gene].X == 0).all() and (other.obsm["true_velocity"][:, ~rest] == 0).all()
    np.testing.assert_array_equal(other.X[:n, rest], one.X[:n, rest])
    both = getattr(datasets, name)(**{size: 20}, knockout=[gene, one.var_names[0]])
    assert (both[:, [gene, one.var_names[0]]].X == 0).all()


# regulatory network


def fates(knockout: str | None) -> tuple[float, float]:
    """Share of cells on branch a at the end, and cells there are for one at the start."""
    adata = datasets.regulatory_network(n_cells=1000, knockout=knockout)
    last = adata.obs[adata.obs["time"] == 4]
    return float((last["branch"] == "a").mean()), len(last) / 1000


def test_network_genes_do_what_they_are_said_to():
    share, size = fates(None)
    assert 0.6 < share < 0.8 and 1.8 < size < 2.2
    shares = {gene: fates(gene)[0] for gene in ("driver_a", "signal_a", "driver_b", "signal_b", "repressor_b")}
    assert max(shares["driver_a"], shares["signal_a"]) < 0.02
    assert min(shares["driver_b"], shares["signal_b"]) > 0.98
    assert share - 0.3 < shares["repressor_b"] < share - 0.1
    for gene in ("marker_a", "marker_b", "bystander"):  # chance is the same
        assert fates(gene) == (share, size)
    assert fates("cycle")[1] == pytest.approx(1, abs=0.05)


def test_network_counts_follow_the_growth_it_states_and_types_the_drivers():
    adata = datasets.regulatory_network(n_cells=2000)
    rate = adata.obs.groupby("time")["true_growth"].mean().to_numpy()
    counts = adata.obs["time"].value_counts().sort_index().to_numpy()
    np.testing.assert_allclose(np.diff(np.log(counts)), (rate[1:] + rate[:-1]) / 2, atol=0.04)
    drivers = adata[:, ["driver_a", "driver_b"]].X
    np.testing.assert_array_equal(adata.obs["branch"] == "a", drivers[:, 0] > drivers[:, 1])
    np.testing.assert_array_equal(adata.obs["cell_type"] == "progenitor", drivers.max(axis=1) < 0.7)
    types = adata.obs.groupby("time", observed=True)["cell_type"].value_counts(normalize=True).unstack()
    assert types.loc[0, "progenitor"] == 1 and types.loc[4, "progenitor"] < 0.05


# toggle switch


def test_toggle_switch_growth_is_the_published_formula():
    adata = datasets.toggle_switch(n_per_branch=50, division=0.06)
    active = adata.obsm["X_genes"][:, 1] ** 2
    np.testing.assert_allclose(adata.obs["true_growth"], 8 * np.log(1 + 0.06 * active / (1 + active)), atol=1e-9)


def test_toggle_switch_starts_as_asked_and_only_the_active_branch_grows_much():
    adata = datasets.toggle_switch(n_per_branch=200)
    counts = adata.obs.groupby("branch", observed=True)["time"].value_counts().unstack()
    assert list(counts.columns) == [0, 1, 2, 3, 4]
    assert counts.loc["active", 0] == counts.loc["quiescent", 0] == 200
    assert (np.diff(counts, axis=1) >= 0).all()
    assert 3 < counts.loc["active", 4] / 200 < 5
    assert counts.loc["quiescent", 4] / 200 < 1.3


def test_toggle_switch_counts_follow_the_growth_it_states():
    adata = datasets.toggle_switch(n_per_branch=2000)
    rate = adata.obs.groupby("time")["true_growth"].mean().to_numpy()
    counts = adata.obs["time"].value_counts().sort_index().to_numpy()
    np.testing.assert_allclose(np.diff(np.log(counts)), (rate[1:] + rate[:-1]) / 2, atol=0.06)


def test_toggle_switch_holds_two_genes_their_velocity_and_nothing_negative():
    adata = datasets.toggle_switch(n_per_branch=50)
    assert adata.shape[1] == 2 and adata.X.dtype == np.float32
    assert adata.obsm["X_genes"].shape == adata.obsm["true_velocity"].shape == (adata.n_obs, 2)
    np.testing.assert_allclose(adata.X, adata.obsm["X_genes"], rtol=1e-6)
    assert (adata.obsm["X_genes"] >= 0).all()


def test_toggle_switch_velocity_is_eight_expected_steps():
    """Gene 1 at the start of the active branch, by hand: third gene about 0."""
    adata = datasets.toggle_switch(n_per_branch=500)
    start = (adata.obs["time"] == 0) & (adata.obs["branch"] == "active")
    x1, x2 = adata.obsm["X_genes"][start].T
    without_third = 8 * ((0.5 * x1**2 + 1) / (2 + 0.5 * x1**2 + x2**2) - 0.4 * x1)
    off = adata.obsm["true_velocity"][start, 0] - without_third
    assert np.median(abs(off)) < 0.1


# branching


def test_branching_velocity_and_growth_are_slopes_of_its_flow():
    state = np.random.default_rng(0).normal(size=(50, 4)) + [1, 0, 0, 0]
    h = 1e-4
    later, log_m = _branching._follow(state, h)
    middle = (state + later) / 2
    np.testing.assert_allclose((later - state) / h, _branching.velocity(middle), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_m / h, _branching.growth(middle), rtol=1e-5, atol=1e-6)


def test_branching_flow_does_not_depend_on_where_it_is_cut():
    state = np.random.default_rng(0).normal(size=(50, 4)) * 0.3
    half, log_half = _branching._follow(state, 1.0)
    end, log_rest = _branching._follow(half, 1.3)
    straight, log_m = _branching._follow(state, 2.3)
    np.testing.assert_allclose(end, straight, atol=1e-5)
    np.testing.assert_allclose(log_half + log_rest, log_m, atol=1e-5)


def test_branching_snapshots_obey_the_continuity_equation_with_what_is_written():
    """Mass and its first moments change by the integrals of ``g`` and ``v + g x`` over cells (Simpson's rule)."""
    times = np.arange(7) / 2
    adata = datasets.branching(n_cells=1000, n_dims=3, times=times)
    x, v, g = adata.obsm["X_state"], adata.obsm["true_velocity"], adata.obs["true_growth"].to_numpy()[:, None]
    moments, slopes = (
        np.array([values[adata.obs["time"] == t].sum(axis=0) / 1000 for t in times])
        for values in (np.hstack([np.ones_like(g), x]), np.hstack([g, v + g * x]))
    )
    change = (slopes[0:-2:2] + 4 * slopes[1:-1:2] + slopes[2::2]) / 6
    np.testing.assert_allclose(moments[2::2] - moments[:-2:2], change, atol=0.4)
    assert abs(change).max() > 4


def test_branching_takes_uneven_times_and_counts_by_mass():
    even = datasets.branching(n_cells=300, n_dims=2, times=(0, 1, 2, 3))
    uneven = datasets.branching(n_cells=300, n_dims=2, times=(5, 5.25, 8))
    counts = uneven.obs["time"].value_counts()
    assert sorted(counts.index) == [5, 5.25, 8]
    assert counts[5] == 300
    assert counts[8] == pytest.approx((even.obs["time"] == 3).sum(), rel=0.02)


def test_branching_draws_other_cells_of_one_process():
    first, fresh = (datasets.branching(n_cells=300, n_dims=4, seed=seed, space_seed=5) for seed in (0, 1))
    assert not np.array_equal(first.obsm["X_state"][:10], fresh.obsm["X_state"][:10])
    ends = [adata.obsm["X_state"][adata.obs["time"] == 3] for adata in (first, fresh)]
    spread = np.sqrt(ends[0].var(axis=0).sum())
    assert np.linalg.norm(ends[0].mean(axis=0) - ends[1].mean(axis=0)) < 0.1 * spread
    other = datasets.branching(n_cells=300, n_dims=4, seed=1)
    end = other.obsm["X_state"][other.obs["time"] == 3]
    assert np.linalg.norm(ends[0].mean(axis=0) - end.mean(axis=0)) > 0.3 * spread


FIRST_AND_LAST = [[0.714233, -0.130286, 0.291234], [1.028492, 2.906836, 0.955232]]
"""States of these two cells of the 30 that seed 0 starts with in three dimensions."""


def test_branching_without_clones_draws_the_cells_it_always_did():
    plain, with_clones = (datasets.branching(n_cells=30, n_dims=3, n_clones=n) for n in (None, 7))
    np.testing.assert_allclose(plain.obsm["X_state"][[0, -1]], FIRST_AND_LAST, atol=1e-6)
    np.testing.assert_array_equal(with_clones.X, plain.X)
    np.testing.assert_array_equal(with_clones.obsm["X_state"], plain.obsm["X_state"])
    assert list(with_clones.obs) == [*plain.obs, "true_clone"]
    assert with_clones.obs[list(plain.obs)].equals(plain.obs)


@pytest.mark.parametrize("n_dims", [2, 10])
def test_branching_clones_have_one_fate_and_are_seen_at_all_times(n_dims):
    adata = datasets.branching(n_cells=300, n_dims=n_dims, n_clones=50)
    clones = adata.obs.groupby("true_clone", observed=True)
    assert clones["time"].nunique().eq(4).mean() > 0.8
    assert clones["true_fate"].nunique().eq(1).all()
    assert adata.obs.groupby("true_fate", observed=True)["true_clone"].nunique().min() > 10


def test_branching_clones_grow_as_their_cells_do():
    adata = datasets.branching(n_cells=1000, n_dims=2, n_clones=10, seed=2)
    n = adata.obs.groupby(["true_clone", "time"], observed=True).size().unstack()
    of_a = adata.obs["true_fate"].eq("fate_a").groupby(adata.obs["true_clone"], observed=True).mean()
    assert np.corrcoef(np.log(n[3.0] / n[0.0]), of_a)[0, 1] > 0.95


def test_branching_clones_of_one_founder_are_one():
    assert datasets.branching(n_cells=10, n_clones=1).obs["true_clone"].nunique() == 1


def test_branching_labels_are_consistent():
    adata = datasets.branching(n_cells=200)
    assert set(adata.obs["true_fate"]) == {"fate_a", "fate_b"}
    settled = adata.obs["cell_type"] != "progenitor"
    assert (adata.obs["cell_type"][settled].astype(str) == adata.obs["true_fate"][settled].astype(str)).all()
    rate = adata.obs.query("time == 3").groupby("cell_type", observed=True)["true_growth"].median()
    assert rate["fate_a"] > 0.7 and rate["fate_b"] < 0.1


@pytest.mark.parametrize("treatment", ["growth", "fate", "none"])
def test_branching_treatment_changes_what_it_says_and_nothing_else(treatment):
    plain = datasets.branching(n_cells=200, n_dims=2, times=(0, 3), seed=3)
    adata = datasets.branching(n_cells=200, n_dims=2, times=(0, 3), seed=3, treatment=treatment)
    control, treated = (adata[adata.obs["condition"] == name] for name in ("control", "treated"))
    np.testing.assert_array_equal(control.obsm["X_state"], plain.obsm["X_state"])
    for column in ("time", "true_growth", "cell_type", "true_fate"):
        np.testing.assert_array_equal(control.obs[column], plain.obs[column])
    first = [part.obs.loc[part.obs["time"] == 0, "true_fate"] == "fate_a" for part in (control, treated)]
    assert len(first[0]) == len(first[1]) == 200
    shift = first[1].mean() - first[0].mean()
    assert shift == pytest.approx(0.2 if treatment == "fate" else 0, abs=0.1)  # two standard errors
    last = [part.obs[part.obs["time"] == 3].groupby("cell_type", observed=True)["true_growth"].mean()
            for part in (control, treated)]  # fmt: skip
    ratio = last[1] / last[0]
    assert ratio["fate_a"] == pytest.approx(2 if treatment == "growth" else 1, rel=0.03)
    assert last[1]["fate_b"] - last[0]["fate_b"] == pytest.approx(0, abs=0.05)
    # numbers are masses: what 10,000 cells of the start have become
    process, start = _branching.TREATED[treatment], _branching._start(10_000, 2, np.random.default_rng(1))
    ends, log_m = _branching._follow(start, 3.0, process)
    mass = [np.exp(log_m[side]).sum() / 50 for side in (ends[:, 1] > 0, ends[:, 1] <= 0)]
    n = treated.obs[(treated.obs["time"] == 3).to_numpy()]["cell_type"].value_counts()
    np.testing.assert_allclose([n["fate_a"], n["fate_b"]], mass, rtol=0.15)


def test_branching_fates_of_treated_cells_are_where_the_flow_leads():
    adata = datasets.branching(n_cells=200, n_dims=2, seed=3, treatment="fate", times=(0, 0.5))
    process = _branching.TREATED["fate"]
    state = _branching._start(5000, 2, np.random.default_rng(0))
    ends = _branching._follow(state, 5.0, process)[0]
    assert (ends[:, 1] > 0).mean() == pytest.approx(0.7, abs=0.02)
    h = 1e-3
    later, log_m = _branching._follow(state, h, process)
    middle = (state + later) / 2
    np.testing.assert_allclose((later - state) / h, _branching.velocity(middle, process), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_m / h, _branching.growth(middle, process), rtol=1e-5, atol=1e-6)
    assert ((adata.obs["true_fate"] == "fate_a") & (adata.obs["condition"] == "treated")).any()


def test_branching_expression_has_genes_that_follow_growth():
    adata = datasets.branching(n_cells=300, n_genes=60, n_growth_genes=7)
    assert adata.shape[1] == 60 and adata.var["growth_gene"].sum() == 7 and adata.X.min() >= 0
    correlation = np.array([abs(np.corrcoef(gene, adata.obs["true_growth"])[0, 1]) for gene in adata.X.T])
    assert correlation[adata.var["growth_gene"]].min() > 0.8
    assert np.median(correlation[~adata.var["growth_gene"]]) < 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_dims": 1}, "n_dims >= 2"),
        ({"times": (0, 2, 1)}, "increasing"),
        ({"times": (0, 0)}, "increasing"),
        ({"times": ()}, "increasing"),
        ({"n_genes": 5}, "n_growth_genes"),
        ({"n_clones": 0}, "n_clones must be positive"),
    ],
)
def test_branching_refuses_what_it_cannot_simulate(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.branching(n_cells=10, **arguments)


# gaussian mixture


def test_gaussian_mixture_has_the_published_components():
    adata = datasets.gaussian_mixture(n_dims=5)
    x, component, time = adata.obsm["X_gaussian"], adata.obs["component"], adata.obs["time"]
    centres = {
        (0, "origin"): (400, [0, 0]),
        (0, "upper"): (100, [0, 2.5]),
        (1, "right"): (200, [1, 0]),
        (1, "left"): (200, [-1, 0]),
        (1, "upper"): (1000, [0, 2.5]),
    }
    assert adata.n_obs == 1900
    for (t, name), (n, centre) in centres.items():
        cells = x[(time == t) & (component == name)]
        assert len(cells) == n
        np.testing.assert_allclose(cells.mean(axis=0), [*centre, 0, 0, 0], atol=4 * np.sqrt(0.005 / n))
        np.testing.assert_allclose(cells.var(axis=0), 0.005, rtol=6 / np.sqrt(n))
    np.testing.assert_allclose(adata.obs["true_growth"], np.where(component == "upper", np.log(10), 0))
    assert set(adata.obsm["true_velocity"][component == "right", 0]) == {1}
    assert not adata.obsm["true_velocity"][:, 1:].any()


def test_gaussian_mixture_needs_two_dimensions():
    with pytest.raises(ValueError, match="at least 2"):
        datasets.gaussian_mixture(n_dims=1)
    assert datasets.gaussian_mixture(n_dims=2).shape == (1900, 2)


# bistable


def test_bistable_holds_its_state_and_what_is_true_of_it():
    adata = datasets.bistable(n_cells=40, n_dims=3, times=(1, 1.125, 1.2), noise=0.7)
    x, last = adata.obsm["X_state"], (adata.obs["time"] == 1.2).to_numpy()
    assert adata.X.dtype == np.float32 and adata.uns["noise"] == 0.7
    assert adata.obs["time"].unique().tolist() == [1, 1.125, 1.2] and (adata.obs["time"] == 1).sum() == 40
    np.testing.assert_allclose(adata.X, x, rtol=1e-6)
    np.testing.assert_allclose(adata.obs["true_growth"], 2.5 * (1 + np.tanh(2 * x[:, 0])))
    np.testing.assert_array_equal(adata.obsm["true_drift"], _double_well.drift(x))
    right = x[:, 0] + x[:, 1] > 0
    assert list(adata.obs["well"].cat.categories) == ["left", "right"]
    assert ((adata.obs["well"] == "right") == right).all()
    for name in ("true_fate", "true_descendants"):
        assert adata.obs[name].dtype == np.float64 and adata.obs[name].between(0, 1).all()
    np.testing.assert_array_equal(adata.obs["true_descendants"][last], right[last])
    assert 0.1 < adata.obs["true_descendants"][~last].std() < 0.5


def test_bistable_drift_is_minus_the_slope_of_the_potential():
    x = np.random.default_rng(0).normal(size=(50, 4))
    slope = [(_double_well.potential(x + h) - _double_well.potential(x - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(_double_well.drift(x), -np.transpose(slope), atol=1e-6)
    wells = np.array([[1.0, 1, 0], [-1, -1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(_double_well.drift(wells), 0)
    np.testing.assert_allclose(_double_well.potential(wells), [0, 0, 3.6])


@pytest.mark.parametrize(("place", "noise"), [((0.0, 0.1), 0.5), ((0.5, -0.6), 0.5), ((0.2, 0.15), 1.0)])
def test_bistable_fate_is_the_share_of_runs_that_come_to_the_right_well_first(place, noise):
    rng, h, came = np.random.default_rng(0), 1 / 400, []
    x = np.tile(place, (4000, 1))
    while len(x):
        x = x + h * _double_well.drift(x) + noise * np.sqrt(h) * rng.standard_normal(x.shape)
        there = (abs(abs(x.sum(axis=1)) - 2) < 0.3) & (abs(x[:, 0] - x[:, 1]) < 0.3)
        came.append(x[there].sum(axis=1) > 0)
        x = x[~there]
    fate, share = _double_well.fate(noise, np.array([place]))[0], np.concatenate(came).mean()
    assert 0.15 < fate < 0.85
    assert abs(share - fate) < 3 * np.sqrt(fate * (1 - fate) / 4000)


@pytest.mark.parametrize("noise", [0.05, 0.5, 2.0])
def test_bistable_fates_mirror_each_other_and_are_settled_in_the_wells(noise):
    x = np.random.default_rng(0).normal(size=(500, 2))
    fate = _double_well.fate(noise, x)
    np.testing.assert_allclose(fate + _double_well.fate(noise, -x), 1, atol=1e-9)
    np.testing.assert_allclose(_double_well.fate(noise, x[:, ::-1]), fate, atol=1e-9)
    np.testing.assert_allclose(_double_well.fate(noise, np.array([[1.0, 1], [-1, -1], [0, 0]])), [1, 0, 0.5])
    if noise < 1:  # elsewhere the way down decides
        far = abs(x.sum(axis=1)) > 3 * noise
        np.testing.assert_allclose(fate[far], x[far].sum(axis=1) > 0, atol=1e-3)


def test_bistable_descendants_are_as_many_and_where_the_equation_says():
    place, rng = np.array([-0.05, 0.1, 0.0]), np.random.default_rng(0)
    runs = [_bistable._follow(np.tile(place, (100, 1)), 0.35, 0.5, rng) for _ in range(25)]
    counts = np.array([[(x[:, 0] + x[:, 1] > 0).sum(), len(x)] for x in runs]) / 100
    (expected,) = _double_well.numbers(0.5, [0.35], [place[None]])
    assert expected[0, 1] > 2
    assert (abs(counts.mean(axis=0) - expected[0]) < 3 * counts.std(axis=0, ddof=1) / 5).all()


def test_bistable_numbers_follow_the_growth_written():
    """Change of the number of cells is the integral of their growth over time (Simpson's rule)."""
    times = np.arange(5) / 8
    obs = datasets.bistable(n_cells=2000, n_dims=2, times=times).obs.groupby("time")
    counts, growth = obs.size().to_numpy() / 2000, obs["true_growth"].sum().to_numpy() / 2000
    integral = (growth[:-2:2] + 4 * growth[1:-1:2] + growth[2::2]) / 24
    np.testing.assert_allclose(np.diff(counts[::2]), integral, rtol=0.1)
    assert counts[4] == pytest.approx(4.51, rel=0.08)  # by a solver of the density, forward in time


def test_bistable_cells_leave_the_saddle_for_the_wells_and_spread_as_noise_says():
    adata = datasets.bistable(n_cells=300, n_dims=20)
    x, fate, time = adata.obsm["X_state"], adata.obs["true_fate"], adata.obs["time"]
    open_ = fate.between(0.1, 0.9).groupby(time).mean()
    assert open_[0] > 0.8 and open_[0.125] > 0.25 and 0 < open_[0.5] < 0.05
    end = x[time == 0.5]
    assert np.mean(np.minimum(*(np.hypot(*(end[:, :2] - side).T) for side in (1, -1))) < 0.5) > 0.8
    assert end[:, 2:].var() == pytest.approx(0.5**2 / 40, rel=0.05)
    assert 3000 < adata.n_obs < 4200


def test_bistable_of_one_time_has_starting_cells_alone():
    adata = datasets.bistable(n_cells=5, times=(3,))
    assert adata.n_obs == 5 and set(adata.obs["true_descendants"]) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_cells": 0}, "n_cells must be positive"),
        ({"n_dims": 1}, "n_dims must be at least 2"),
        ({"times": (0, 2, 1)}, "increasing"),
        ({"times": (0, 0)}, "increasing"),
        ({"times": (0, np.inf)}, "increasing"),
        ({"times": ()}, "increasing"),
        ({"noise": -1}, "noise must be positive and finite"),
        ({"noise": np.nan}, "noise must be positive and finite"),
        ({"noise": 3}, "noise must be at most 2"),
    ],
)
def test_bistable_refuses_what_it_cannot_simulate(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.bistable(**{"n_cells": 10, **arguments})


def test_bistable_stops_before_cells_fill_the_memory(monkeypatch):
    monkeypatch.setattr(_bistable, "MOST_CELLS", 100)
    with pytest.raises(ValueError, match="More than 100 cells.*lower n_cells"):
        datasets.bistable(n_cells=50, n_dims=2, times=(0, 2))


# downloads

TABLE = b"samples,x1,x2\n0.0,1.5,-2.0\n1.0,0.25,3.0\n2.0,-1.0,0.0\n"


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A server on this machine in place of the real addresses; answers ``body``, counts requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(server.body)))
            self.end_headers()
            self.wfile.write(server.body)

        def log_message(self, *args):
            pass

    def expect(module, body):
        """What ``module`` downloads is now ``body``."""
        server.body = body
        monkeypatch.setattr(module, "URL", f"http://127.0.0.1:{server.server_port}/{module.URL.rpartition('/')[2]}")
        monkeypatch.setattr(module, "SHA256", hashlib.sha256(body).hexdigest())

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.expect, server.cache = 0, expect, tmp_path / "cache"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("VGFM_SC_DATA", str(server.cache))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_mouse_data_are_downloaded_once(served):
    served.expect(_mouse_hematopoiesis, TABLE)
    for _ in range(2):
        adata = datasets.mouse_hematopoiesis()
        np.testing.assert_array_equal(adata.obsm["X_reduced"], [[1.5, -2], [0.25, 3], [-1, 0]])
        assert adata.obs["day"].tolist() == [2, 4, 6] and adata.obs["time"].tolist() == [0, 1, 2]
    assert served.requests == 1
    assert [path.name for path in served.cache.iterdir()] == ["mouse_hematopoiesis.csv"]


def test_a_changed_download_is_refused_and_not_kept(served):
    served.expect(_mouse_hematopoiesis, TABLE)
    served.body = TABLE.replace(b"1.5", b"1.6")
    with pytest.raises(ValueError, match="hash"):
        datasets.mouse_hematopoiesis()
    assert not list(served.cache.glob("*"))


def test_a_changed_file_in_the_cache_is_never_read(served):
    served.expect(_mouse_hematopoiesis, TABLE)
    datasets.mouse_hematopoiesis()
    (served.cache / "mouse_hematopoiesis.csv").write_bytes(TABLE.replace(b"1.5", b"1.6"))
    assert datasets.mouse_hematopoiesis().obsm["X_reduced"][0, 0] == 1.5
    assert served.requests == 2


def test_reprogramming_data_are_tidied(served, tmp_path):
    obs = pd.DataFrame({"day": [10.0, 10.5, 11.0], "cell_type": ["Stromal", "unknown", "IPS"], "batch": [0, 1, 2]})
    stored = AnnData(sparse.csr_matrix(np.eye(3, dtype=np.float32)), obs=obs.set_index(np.array(["a", "b", "c"])))
    stored.obs[["day", "cell_type"]] = stored.obs[["day", "cell_type"]].astype("category")
    stored.uns["of others"] = 1
    stored.write_h5ad(tmp_path / "stored.h5ad")
    served.expect(_reprogramming, (tmp_path / "stored.h5ad").read_bytes())
    for _ in range(2):
        adata = datasets.reprogramming()
    assert served.requests == 1
    assert list(adata.obs.columns) == ["day", "cell_type"] and not adata.uns
    assert adata.obs["day"].dtype == np.float64
    assert adata.obs["cell_type"].isna().tolist() == [False, True, False]
    assert list(adata.obs["cell_type"].cat.categories) == ["IPS", "Stromal"]
    np.testing.assert_array_equal(adata.X.toarray(), np.eye(3))


@pytest.fixture
def from_folder(shared_data, monkeypatch, tmp_path):
    """Reads a real file from a folder, without a network."""

    def copy(name):
        if not (shared_data / name).exists():
            pytest.skip(f"no {name} in {shared_data}")
        shutil.copy(shared_data / name, tmp_path)
        monkeypatch.setenv("VGFM_SC_DATA", str(tmp_path))
        monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("used the network"))

    return copy


def test_real_mouse_data_are_read_from_a_folder_without_a_network(from_folder):
    from_folder("mouse_hematopoiesis.csv")
    adata = datasets.mouse_hematopoiesis()
    assert adata.shape == (10_998, 2)
    assert adata.obs["day"].value_counts().to_dict() == {2: 1429, 4: 3781, 6: 5788}
    np.testing.assert_allclose(adata.X, adata.obsm["X_reduced"], rtol=1e-6)


def test_real_reprogramming_data_are_read_from_a_folder_without_a_network(from_folder):
    from_folder("reprogramming_250cells.h5ad")
    adata = datasets.reprogramming()
    assert adata.shape == (250, 1479)
    assert adata.obs["day"].value_counts().to_dict() == {10: 85, 10.5: 81, 11: 84}
    assert adata.obs["cell_type"].value_counts()["Stromal"] == 97 and adata.obs["cell_type"].isna().sum() == 91
    np.testing.assert_allclose(np.expm1(adata.X.toarray()).sum(axis=1), 1e4, rtol=1e-5)


@pytest.mark.parametrize("module", [_mouse_hematopoiesis, _reprogramming])
def test_real_addresses_are_fixed_commits_over_https(module):
    assert re.match(r"https://raw\.githubusercontent\.com/\w+/\w+/[0-9a-f]{7,40}/", module.URL)
    assert len(module.SHA256) == 64


def test_branching_samples_are_of_one_time_and_condition_and_differ():
    adata = datasets.branching(n_cells=1000, n_dims=2, times=(0, 2), treatment="none", n_samples=20)
    obs = adata.obs
    assert obs.groupby("sample", observed=True)[["time", "condition"]].nunique().eq(1).all(axis=None)
    sizes = obs.groupby(["condition", "time"], observed=True)["sample"].value_counts()
    sizes = sizes[sizes > 0].unstack(["condition", "time"])
    assert sizes.notna().sum().eq(20).all()
    spread = (sizes.std() / sizes.mean()).unstack()
    assert spread[0.0].between(0.06, 0.18).all()  # by 10%
    of_many = datasets.branching(n_cells=2000, n_dims=2, times=(0, 2), seed=1).obs["time"].value_counts()
    mean = sizes.mean().groupby("time").mean()
    assert mean[2.0] / mean[0.0] == pytest.approx(of_many[2.0] / of_many[0.0], rel=0.08)


def test_branching_with_samples_leaves_the_true_growth_that_of_the_mean_sample():
    plain, sampled = (datasets.branching(n_cells=40, n_dims=2, times=(0, 3), n_samples=n) for n in (None, 3))
    most = [adata.obs["true_growth"].max() for adata in (plain, sampled)]
    assert most[1] == pytest.approx(most[0], abs=1e-4)  # a sample's own rate differs by some 5%
    assert "sample" not in plain.obs and sampled.obs["sample"].nunique() == 6
