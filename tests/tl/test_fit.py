from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array, csr_matrix

import vgfm_sc
from vgfm_sc import get, tl
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.path import PathPoint
from vgfm_sc.core.training import fitting
from vgfm_sc.methods import Method, vgfm

WRITTEN = {
    "obs": ["vgfm_growth", "vgfm_mass"],
    "obsm": ["vgfm_velocity_genes"],
    "obsp": ["vgfm_coupling"],
    "uns": ["vgfm"],
}


def independent(x0, x1, mass0, mass1, generator):
    """Every cell sends the same to every cell."""
    return mass0[:, None] * mass1 / mass0.sum()


def assert_close(found, wanted, rtol):
    """Within ``rtol`` of the typical size."""
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * np.sqrt(np.mean(np.square(wanted))))


# what is written


def test_fit_adds_the_documented_keys_and_no_others(fitted, unfitted):
    for slot in ("obs", "obsm", "obsp", "uns", "layers", "var"):
        added = set(getattr(fitted, slot).keys()) - set(getattr(unfitted, slot).keys())
        assert sorted(added) == WRITTEN.get(slot, [])


def test_results_are_float32_and_finite_with_mass_missing_at_the_last_time_only(fitted):
    velocity, growth, mass = fitted.obsm["vgfm_velocity_genes"], fitted.obs["vgfm_growth"], fitted.obs["vgfm_mass"]
    assert velocity.shape == (fitted.n_obs, 2)
    assert velocity.dtype == growth.dtype == mass.dtype == fitted.obsp["vgfm_coupling"].dtype == np.float32
    assert np.isfinite(velocity).all() and np.isfinite(growth).all()
    np.testing.assert_array_equal(mass.isna(), fitted.obs["time"] == 4)
    assert (mass.dropna() > 0).all()


def test_parameters_time_points_history_and_version_are_stored(fitted, small):
    stored = fitted.uns["vgfm"]
    assert stored["params"].items() >= {**{k: v for k, v in small.items() if k != "progress"}, "seed": 0}.items()
    assert stored["params"]["time_key"] == "time" and stored["params"]["method"] == "vgfm"
    assert stored["version"] == vgfm_sc.__version__
    np.testing.assert_array_equal(stored["time_points"], [0, 1, 2, 3, 4])
    assert len(stored["history"]["matching"]["velocity"]) == len(stored["history"]["matching"]["growth"]) == 40
    assert len(stored["history"]["fitting"]["loss"]) == 2
    assert stored["couplings"]["converged"].tolist() == [True] * 4
    assert (stored["couplings"]["marginal_error"] < 1e-4).all()


def test_fit_steps_0_leaves_the_fitting_stage_out(unfitted, small):
    adata = tl.fit(unfitted, "time", copy=True, **{**small, "fit_steps": 0, "match_steps": 2})
    assert list(adata.uns["vgfm"]["history"]) == ["matching"]


def only_storable(value, where="uns['vgfm']"):
    if isinstance(value, dict):
        for name, inner in value.items():
            assert isinstance(name, str) and "/" not in name, f"{where}: key {name!r}"
            only_storable(inner, f"{where}[{name!r}]")
    else:
        assert isinstance(value, str | bool | int | float | np.ndarray | np.generic), f"{where}: {type(value)}"
        assert getattr(value, "dtype", np.dtype(float)).kind in "biufU", f"{where}: {value.dtype}"


def test_what_uns_holds_can_be_stored(simulated):
    only_storable(simulated.uns["vgfm"])


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_results_survive_a_file(simulated, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "zarr":
        pytest.importorskip("zarr")
    getattr(simulated, f"write_{kind}")(path)
    back = {"h5ad": ad.read_h5ad, "zarr": ad.read_zarr}[kind](path)
    x = simulated.obsm["X_genes"]
    for found, wanted in zip(get.model(back)(1.5, x), get.model(simulated)(1.5, x), strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(back.obsm["vgfm_velocity_genes"], simulated.obsm["vgfm_velocity_genes"])
    pd.testing.assert_frame_equal(get.trajectories(back), get.trajectories(simulated))
    pd.testing.assert_frame_equal(tl.evaluate(back), tl.evaluate(simulated))
    for pair, plan in get.couplings(simulated).items():
        assert (get.couplings(back)[pair] != plan).nnz == 0


def test_copy_returns_a_changed_copy(unfitted, small, unchanged):
    with unchanged(unfitted):
        changed = tl.fit(unfitted, "time", copy=True, **{**small, "match_steps": 2, "fit_steps": 0})
    assert "vgfm" in changed.uns


def test_without_copy_nothing_is_returned(unfitted, small):
    adata = unfitted.copy()
    assert tl.fit(adata, "time", **{**small, "match_steps": 2, "fit_steps": 0}) is None
    assert "vgfm" in adata.uns


def test_key_added_names_everything_and_leaves_other_fits_alone(fitted, small):
    adata = fitted.copy()
    tl.fit(adata, "time", key_added="second", **{**small, "match_steps": 2, "fit_steps": 0})
    assert {"second_growth", "second_mass"} <= set(adata.obs) and "second_velocity_genes" in adata.obsm
    np.testing.assert_array_equal(adata.obs["vgfm_growth"], fitted.obs["vgfm_growth"])
    assert get.model(adata, "second")(0.0, np.zeros((1, 2)))[1] != get.model(adata)(0.0, np.zeros((1, 2)))[1]


def test_a_second_fit_replaces_the_first(fitted, small):
    adata = fitted.copy()
    tl.fit(adata, "time", **{**small, "match_steps": 2, "fit_steps": 0})
    assert adata.uns["vgfm"]["params"]["match_steps"] == 2
    assert not np.array_equal(adata.obs["vgfm_growth"], fitted.obs["vgfm_growth"])


# totals, and cells held out


@pytest.mark.parametrize("method", ["vgfm", "otcfm"])
def test_simulated_totals_are_those_observed(unfitted, small, method):
    adata = tl.fit(unfitted, "time", copy=True, method=method, **{**small, "match_steps": 10, "fit_steps": 0})
    counts = adata.obs["time"].value_counts().sort_index().to_numpy()
    # at the default tolerance to the last digits, as the rate was found at it; else up to the integrator's error
    for tol, rtol in ((1e-4, 1e-6), (1e-6, 1e-3)):
        tl.simulate(adata, n_cells=None, times=[1.0, 2.0, 3.0, 4.0], tol=tol)
        np.testing.assert_allclose(adata.uns["vgfm"]["trajectories"]["mass"].sum(axis=1), counts, rtol=rtol)


def test_patience_of_none_is_not_stored_and_fits_all_steps(unfitted, small):
    adata = tl.fit(unfitted, "time", copy=True, patience=None, **{**small, "match_steps": 2})
    assert "patience" not in adata.uns["vgfm"]["params"]
    only_storable(adata.uns["vgfm"])
    patient = tl.fit(unfitted, "time", copy=True, patience=10, **{**small, "match_steps": 2})
    assert patient.uns["vgfm"]["params"]["patience"] == 10


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_cells_held_out_are_judged_on_and_not_learned_from(unfitted, small, monkeypatch, share):
    trained_on, judged_on, real = [], [], fitting.fit

    def coupling(x0, x1, mass0, mass1, generator):
        trained_on.append(x0)
        return vgfm().coupling(x0, x1, mass0, mass1, generator)

    def fit(networks, samples, held_out, settings, **others):
        judged_on.extend(held_out[0].snapshots)
        for cells, seen in zip(samples[0].snapshots[:-1], trained_on, strict=True):
            assert torch.equal(cells, seen)
        return real(networks, samples, held_out, settings, **others)

    monkeypatch.setattr(fitting, "fit", fit)
    method = Method(coupling, smooth=True)
    adata = tl.fit(unfitted, "time", copy=True, method=method, validation=share, **{**small, "match_steps": 5})
    time, mass = adata.obs["time"].to_numpy(), adata.obs["vgfm_mass"].to_numpy()
    rows = np.diff(adata.obsp["vgfm_coupling"].indptr)
    columns = np.diff(adata.obsp["vgfm_coupling"].tocsc().indptr)
    scaling = get.model(adata).scaling
    for k in range(5):
        here = time == k
        n = round(share * here.sum())
        assert len(judged_on[k]) == n
        if k < 4:
            out = here & np.isnan(mass)
            assert out.sum() == n and len(trained_on[k]) == here.sum() - n
            unitless = scaling.to_unitless(adata.obsm["X_genes"][out])
            np.testing.assert_allclose(judged_on[k], unitless, rtol=1e-5, atol=1e-5)
            assert (rows[out] == 0).all() and (rows[here & ~out] > 0).all()
        if k > 0:
            assert (columns[here] == 0).sum() == n
            if k < 4:
                assert (columns[out] == 0).all()
    assert np.isfinite(adata.obs["vgfm_growth"]).all() and np.isfinite(adata.obsm["vgfm_velocity_genes"]).all()
    assert adata.uns["vgfm"]["params"]["validation"] == share


def test_no_validation_is_the_default_and_a_seed_decides_who_is_held_out(unfitted, small):
    settings = {**small, "match_steps": 2, "fit_steps": 0}
    one, again, other = (
        tl.fit(unfitted, "time", copy=True, validation=0.2, seed=seed, **settings).obs["vgfm_mass"].isna()
        for seed in (0, 0, 1)
    )
    assert one.equals(again) and not one.equals(other)


# reproducibility


def test_same_seed_gives_the_same_bits(fitted, unfitted, small, same_random_state):
    again = tl.fit(unfitted, "time", copy=True, **small)
    np.testing.assert_array_equal(again.obsm["vgfm_velocity_genes"], fitted.obsm["vgfm_velocity_genes"])
    np.testing.assert_array_equal(again.obs["vgfm_growth"], fitted.obs["vgfm_growth"])


def test_other_seed_gives_other_networks(fitted, unfitted, small):
    other = tl.fit(unfitted, "time", copy=True, seed=1, **small)
    assert not np.array_equal(other.obsm["vgfm_velocity_genes"], fitted.obsm["vgfm_velocity_genes"])


# what must not matter


def test_unit_and_origin_of_time_only_rescale(fitted, unfitted, small):
    adata = unfitted.copy()
    adata.obs["hours"] = adata.obs["time"] * 24 + 100
    tl.fit(adata, "hours", **small)
    assert_close(adata.obsm["vgfm_velocity_genes"] * 24, fitted.obsm["vgfm_velocity_genes"], 1e-3)
    assert_close(adata.obs["vgfm_growth"] * 24, fitted.obs["vgfm_growth"], 1e-3)
    np.testing.assert_allclose(adata.obs["vgfm_mass"], fitted.obs["vgfm_mass"], rtol=1e-3)


@pytest.mark.parametrize(("scale", "shift"), [(1e4, 3e4), (1e-4, 1.0)])
def test_unit_and_origin_of_the_representation_only_rescale(fitted, unfitted, small, scale, shift):
    adata = unfitted.copy()
    adata.obsm["X_genes"] = adata.obsm["X_genes"] * scale + shift
    tl.fit(adata, "time", **small)
    assert_close(adata.obsm["vgfm_velocity_genes"] / scale, fitted.obsm["vgfm_velocity_genes"], 1e-2)
    assert_close(adata.obs["vgfm_growth"], fitted.obs["vgfm_growth"], 1e-2)


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_names_of_cells_need_not_be_unique(fitted, unfitted, small):
    adata = unfitted.copy()
    adata.obs_names = ["cell"] * adata.n_obs
    tl.fit(adata, "time", **small)
    np.testing.assert_array_equal(adata.obs["vgfm_growth"], fitted.obs["vgfm_growth"])


def test_string_times_give_what_numbers_give(fitted, unfitted, small):
    adata = unfitted.copy()
    adata.obs["time"] = pd.Categorical(adata.obs["time"].astype(int).astype(str), categories=list("43210"))
    column = adata.obs["time"].copy()
    tl.fit(adata, "time", **small)
    np.testing.assert_array_equal(adata.obs["vgfm_growth"], fitted.obs["vgfm_growth"])
    pd.testing.assert_series_equal(adata.obs["time"], column)


# `time_map`, to be read again by what follows the fit


@pytest.mark.parametrize(
    ("labels", "time_map"),
    [
        ([f"E{k}" for k in range(5)], {f"E{k}": 8 + k / 4 for k in range(5)}),
        ([0, 1, 2, 3, 4], {k: 24 * k for k in range(5)}),
        ([0.0, 1.0, 2.0, 3.0, 4.0], {k: 24 * k for k in range(5)}),
        ([f"day 0/{k}" for k in range(5)], {f"day 0/{k}": k for k in range(5)}),
    ],
    ids=["strings", "integers", "floats named by integers", "labels with a slash"],
)
def test_time_map_serves_fit_simulate_and_couplings_and_can_be_stored(unfitted, small, labels, time_map, tmp_path):
    adata = unfitted.copy()
    adata.obs["label"] = np.asarray(labels, dtype=object if isinstance(labels[0], str) else None)[
        adata.obs["time"].to_numpy(dtype=int)
    ]
    tl.fit(adata, "label", time_map=time_map, **{**small, "match_steps": 2, "fit_steps": 0})
    np.testing.assert_array_equal(adata.uns["vgfm"]["time_points"], sorted(time_map.values()))
    tl.simulate(adata, n_cells=2)
    assert get.trajectories(adata)["time"].max() == max(time_map.values())
    assert len(get.couplings(adata)) == 4
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert len(get.couplings(ad.read_h5ad(tmp_path / "a.h5ad"))) == 4


# methods


def test_otcfm_grows_all_cells_alike(unfitted, small):
    adata = tl.fit(unfitted, "time", method="otcfm", copy=True, **{**small, "match_steps": 2, "fit_steps": 0})
    counts = adata.obs["time"].value_counts().sort_index().to_numpy()
    wanted = (counts[1:] / counts[:-1])[adata.obs["time"].to_numpy(dtype=int)[adata.obs["time"] < 4]]
    np.testing.assert_allclose(adata.obs["vgfm_mass"].dropna(), wanted, rtol=5e-3)
    assert adata.uns["vgfm"]["params"]["method"] == "otcfm"


def test_settings_of_a_method_are_stored(unfitted, small):
    adata = tl.fit(unfitted, "time", method=vgfm(rho=5.0), copy=True, **{**small, "match_steps": 2, "fit_steps": 0})
    stored = adata.uns["vgfm"]["params"]["method_settings"]
    assert stored == vgfm(rho=5.0).settings and stored["rho"] == 5


@pytest.fixture(scope="module")
def two_snapshots():
    rng = np.random.default_rng(0)
    adata = ad.AnnData(obs=pd.DataFrame({"day": [0.0] * 60 + [5.0] * 90}, index=[f"cell{k}" for k in range(150)]))
    adata.obsm["X_genes"] = rng.normal(size=(150, 2)) * [1, 2]
    return adata


def test_the_numbers_of_a_users_own_method_arrive(two_snapshots, small):
    seen = {}

    def coupling(x0, x1, mass0, mass1, generator):
        seen.update(x0=x0, x1=x1, mass0=mass0, mass1=mass1, generator=generator)
        return independent(x0, x1, mass0, mass1, generator)

    def path(x0, x1, log_growth, s):  # a detour along the first axis, and growth that rises to the same total
        seen.update(log_growth=log_growth, s=s)
        detour = torch.zeros_like(x0)
        detour[:, 0] = torch.sin(torch.pi * s)
        speed = torch.zeros_like(x0)
        speed[:, 0] = torch.pi * torch.cos(torch.pi * s)
        return PathPoint(x0 + s[:, None] * (x1 - x0) + 4 * detour, x1 - x0 + 4 * speed, log_growth + s - 0.5, 0 * s + 1)

    own = Method(coupling, path, name="mine", settings={"answer": 42})
    settings = {**small, "match_steps": 400, "match_size": 256, "fit_steps": 0}
    adata = tl.fit(two_snapshots, "day", method=own, copy=True, **settings)

    x = two_snapshots.obsm["X_genes"]
    length = np.sqrt(x.var(axis=0).mean())
    np.testing.assert_allclose(seen["x0"], (x[:60] - x.mean(axis=0)) / length, rtol=1e-4, atol=1e-5)
    assert seen["x1"].shape == (90, 2) and seen["x1"].dtype == torch.float32
    assert (seen["mass0"] == 1).all() and seen["mass1"].shape == (90,)
    assert isinstance(seen["generator"], torch.Generator) and seen["generator"].device.type == "cpu"
    np.testing.assert_allclose(seen["log_growth"], np.log(1.5), rtol=1e-5)
    assert 0 <= seen["s"].min() and seen["s"].max() <= 1

    np.testing.assert_allclose(adata.obs["vgfm_mass"].dropna(), 1.5, rtol=1e-5)
    np.testing.assert_allclose(get.couplings(adata)[0.0, 5.0].toarray(), np.full((60, 90), 1 / 60), rtol=1e-5)
    assert adata.uns["vgfm"]["params"]["method_settings"] == {"answer": 42}
    assert adata.uns["vgfm"]["params"]["method"] == "mine"
    for share in (0.25, 0.5, 0.75):
        along = x + [4 * length * np.sin(np.pi * share), 0]
        growth = get.model(adata)(5 * share, along)[1] * 5
        assert np.median(growth) == pytest.approx(np.log(1.5) + share - 0.5, abs=0.03 * 0.7)
    speed = adata.obsm["vgfm_velocity_genes"][:, 0].reshape(-1) * 5 / length
    np.testing.assert_allclose([speed[:60].mean(), speed[60:].mean()], [4 * np.pi, -4 * np.pi], rtol=0.15)


@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.numpy, lambda plan: csr_matrix(plan.numpy())])
def test_a_plan_may_be_a_tensor_an_array_or_sparse(two_snapshots, small, convert):
    own = Method(lambda *args: convert(independent(*args)))
    adata = tl.fit(two_snapshots, "day", method=own, copy=True, **{**small, "match_steps": 2, "fit_steps": 0})
    np.testing.assert_allclose(adata.obs["vgfm_mass"].dropna(), 1.5, rtol=1e-5)


def test_an_unconverged_coupling_warns_at_the_callers_line(two_snapshots, small):
    def coupling(*args):
        return Coupling(csr_array(independent(*args).numpy()), np.ones(60), False, 7, 0.3)

    settings = {**small, "match_steps": 2, "fit_steps": 0}
    with pytest.warns(
        RuntimeWarning, match=r"from 0 to 5 did not converge.*3\.0e-01.*7 iterations.*Raise eps"
    ) as caught:
        adata = tl.fit(two_snapshots, "day", method=Method(coupling), copy=True, **settings)
    assert caught[0].filename == __file__
    assert adata.uns["vgfm"]["couplings"]["converged"].tolist() == [False]


# whatever fails, `adata` stays as it was


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_an_error_while_coupling_leaves_adata_as_it_was(two_snapshots, small, unchanged, error):
    def coupling(*args):
        raise error

    with unchanged(two_snapshots), pytest.raises(error):
        tl.fit(two_snapshots, "day", method=Method(coupling), **small)


def test_an_error_while_writing_leaves_adata_as_it_was(fitted, small, unchanged, monkeypatch):
    adata = fitted.copy()
    monkeypatch.setattr(
        "vgfm_sc.tl._fit._entries.joined_plans", lambda *args: csr_matrix((3, 3))
    )  # obsp refuses the shape
    with unchanged(adata), pytest.raises(ValueError, match="3"):
        tl.fit(adata, "time", **{**small, "match_steps": 2, "fit_steps": 0})


def test_numbers_that_leave_the_finite_range_are_an_error(two_snapshots, small, unchanged):
    with unchanged(two_snapshots), pytest.raises(FloatingPointError, match="Lower"):
        tl.fit(two_snapshots, "day", **{**small, "match_lr": 1e30})


def starving(x0, x1, mass0, mass1, generator):
    plan = independent(x0, x1, mass0, mass1, generator)
    plan[0] = 0
    return plan


def in_obs(values):
    return lambda adata: adata.obs.__setitem__("time", values(adata.n_obs) if callable(values) else values)


def in_obsm(change):
    return lambda adata: adata.obsm.__setitem__("X_genes", change(adata.obsm["X_genes"]))


BAD = {
    "time key missing": ({"time_key": "day"}, None, KeyError, r"'day' not found.*\['time'"),
    "time labels": ({}, in_obs("E8.5"), ValueError, "time_map"),
    "time boolean": ({}, in_obs(lambda n: np.arange(n) % 2 == 0), TypeError, "boolean"),
    "time delta": ({}, in_obs(pd.Timedelta(days=1)), TypeError, "timedelta"),
    "time date": ({}, in_obs(pd.Timestamp("2020-01-01")), TypeError, "datetime"),
    "time NaN": ({}, in_obs(lambda n: [np.nan, *range(n - 1)]), ValueError, "missing or infinite for 1 "),
    "time infinite": ({}, in_obs(lambda n: [np.inf, *range(n - 1)]), ValueError, "missing or infinite"),
    "one time point": ({}, in_obs(1.0), ValueError, "one time point"),
    "one cell": ({}, in_obs(lambda n: [9, *([0, 1] * n)][:n]), ValueError, "fewer than 2 cells"),
    "time_map incomplete": ({"time_map": {0: 0, 1: 1}}, None, ValueError, r"no entry.*'2.0', '3.0', '4.0'"),
    "representation missing": ({"use_rep": "X_pca"}, None, KeyError, r"X_genes.*sc\.pp\.pca"),
    "representation NaN": ({}, in_obsm(lambda x: np.where(x == x[0], np.nan, x)), ValueError, "NaN"),
    "representation constant": ({}, in_obsm(np.ones_like), ValueError, "constant"),
    "representation text": ({}, in_obsm(lambda x: x.astype(str)), TypeError, "numeric"),
    "representation empty": ({}, in_obsm(lambda x: x[:, :0]), ValueError, "shape"),
    "key with slash": ({"key_added": "a/b"}, None, ValueError, "'/'"),
    "key not a string": ({"key_added": 1}, None, TypeError, "key_added"),
    "key empty": ({"key_added": ""}, None, TypeError, "key_added"),
    "key taken": ({}, lambda adata: adata.obs.__setitem__("vgfm_mass", 1.0), ValueError, r"obs\['vgfm_mass'\]"),
    "uns taken": ({}, lambda adata: adata.uns.__setitem__("vgfm", {"mine": 1}), ValueError, r"uns\['vgfm'\]"),
    "method unknown": ({"method": "tigon"}, None, ValueError, r"'tigon'.*vgfm.*otcfm"),
    "method a number": ({"method": 3}, None, ValueError, "Unknown method 3"),
    "method not called": ({"method": vgfm}, None, ValueError, "Unknown method"),
    "device unknown": ({"device": "abacus"}, None, ValueError, r"abacus.*'cpu'"),
    "device absent": ({"device": "cuda:63"}, None, ValueError, "not available"),
    "device not a string": ({"device": 0}, None, TypeError, "device must be a string"),
    "width 0": ({"width": 0}, None, ValueError, "width must be positive"),
    "width a fraction": ({"width": 1.5}, None, TypeError, "width must be an integer"),
    "depth boolean": ({"depth": True}, None, TypeError, "depth must be an integer"),
    "match_steps 0": ({"match_steps": 0}, None, ValueError, "match_steps"),
    "match_size negative": ({"match_size": -4}, None, ValueError, "match_size"),
    "match_lr text": ({"match_lr": "fast"}, None, TypeError, "match_lr must be a number"),
    "match_lr infinite": ({"match_lr": np.inf}, None, ValueError, "match_lr"),
    "fit_steps negative": ({"fit_steps": -1}, None, ValueError, "fit_steps must be at least 0"),
    "fit_cells 0": ({"fit_cells": 0}, None, ValueError, "fit_cells"),
    "mass_weight NaN": ({"mass_weight": np.nan}, None, ValueError, "mass_weight"),
    "patience 0": ({"patience": 0}, None, ValueError, "patience must be positive"),
    "patience a fraction": ({"patience": 0.5}, None, TypeError, "patience must be an integer"),
    "validation negative": ({"validation": -0.1}, None, ValueError, "validation must be at least 0"),
    "validation of most": ({"validation": 0.6}, None, ValueError, r"at most 0\.5, got 0\.6"),
    "validation NaN": ({"validation": np.nan}, None, ValueError, "validation"),
    "validation boolean": ({"validation": True}, None, TypeError, "validation must be a number"),
    "validation of too few": ({"validation": 0.01}, None, ValueError, r"of the 120 cells at 0 leaves 1 to judge on"),
    "seed negative": ({"seed": -1}, None, ValueError, "seed"),
    "seed a fraction": ({"seed": 0.5}, None, TypeError, "seed must be an integer"),
    "plan of wrong shape": ({"method": Method(lambda *_: np.ones((2, 3)))}, None, ValueError, r"shape \(2, 3\)"),
    "plan negative": ({"method": Method(lambda *a: -independent(*a))}, None, ValueError, "negative"),
    "plan NaN": ({"method": Method(lambda *a: np.nan * independent(*a))}, None, ValueError, "missing"),
    "plan with an empty row": (
        {"method": Method(starving)},
        None,
        ValueError,
        "1 of 120 source cells without descendants",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(unfitted, small, unchanged, case):
    arguments, spoil, error, message = BAD[case]
    adata = unfitted.copy()
    if spoil:
        spoil(adata)
    with unchanged(adata), pytest.raises(error, match=f"(?s){message}"):
        tl.fit(adata, **{"time_key": "time", **small, **arguments})


def test_only_anndata_is_fitted(small):
    with pytest.raises(TypeError, match="AnnData, got dict"):
        tl.fit({}, "time", **small)


# other kinds of AnnData


def test_fit_to_a_view_warns_at_the_callers_line_and_the_view_gets_the_result(unfitted, small, unchanged):
    view = unfitted[unfitted.obs["time"] < 2]
    with unchanged(unfitted), pytest.warns(UserWarning, match="view") as caught:
        tl.fit(view, "time", **{**small, "match_steps": 2, "fit_steps": 0})
    assert "vgfm" in view.uns and not view.is_view
    assert caught[0].filename == __file__


def test_copy_of_a_view_does_not_warn(unfitted, small):
    view = unfitted[unfitted.obs["time"] < 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        changed = tl.fit(view, "time", copy=True, **{**small, "match_steps": 2, "fit_steps": 0})
    assert "vgfm" in changed.uns and not changed.is_view and "vgfm" not in unfitted.uns


def test_backed_object_gets_results_in_memory_and_its_file_stays(unfitted, small, tmp_path):
    path = tmp_path / "a.h5ad"
    unfitted.write_h5ad(path)
    before = path.read_bytes()
    backed = ad.read_h5ad(path, backed="r")
    settings = {**small, "match_steps": 2, "fit_steps": 0}
    changed = tl.fit(backed, "time", copy=True, **settings)
    assert not changed.isbacked and "vgfm" in changed.uns and "vgfm" not in backed.uns
    tl.fit(backed, "time", **settings)
    assert backed.isbacked
    np.testing.assert_array_equal(backed.obsm["vgfm_velocity_genes"], changed.obsm["vgfm_velocity_genes"])
    backed.file.close()
    assert path.read_bytes() == before


def test_expression_is_not_read_where_a_representation_is_fitted(unfitted, small):
    da = pytest.importorskip("dask.array")

    def chunk(block):
        raise AssertionError("X is read.")

    adata = unfitted.copy()
    adata.X = da.from_array(adata.X).map_blocks(chunk, meta=adata.X[:0])
    adata.layers["other"] = adata.X
    with pytest.raises(AssertionError, match="X is read"):
        adata.X.compute()
    tl.fit(adata, "time", **{**small, "match_steps": 2, "fit_steps": 0})
    assert "vgfm" in adata.uns


def test_real_reprogramming_data_give_rates_per_day(shared_data, small):
    sc = pytest.importorskip("scanpy")
    path = shared_data / "reprogramming_250cells.h5ad"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file is old
        adata = ad.read_h5ad(path)
        sc.pp.pca(adata, n_comps=20)
    days = adata.obs["day"].copy()
    assert isinstance(days.dtype, pd.CategoricalDtype)
    tl.fit(adata, "day", **{**small, "use_rep": "X_pca"})
    pd.testing.assert_series_equal(adata.obs["day"], days)
    np.testing.assert_array_equal(adata.uns["vgfm"]["time_points"], [10, 10.5, 11])
    assert adata.obsm["vgfm_velocity_pca"].shape == (250, 20)
    assert np.isfinite(adata.obsm["vgfm_velocity_pca"]).all()

    half_days = adata.copy()
    half_days.obs["half_day"] = days.astype(float) * 2
    tl.fit(half_days, "half_day", key_added="half", **{**small, "use_rep": "X_pca"})
    assert_close(half_days.obsm["half_velocity_pca"] * 2, adata.obsm["vgfm_velocity_pca"], 1e-3)
    assert_close(half_days.obs["half_growth"] * 2, adata.obs["vgfm_growth"], 1e-3)
