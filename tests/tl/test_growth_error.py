from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import datasets, get, tl
from vgfm_sc._anndata import Snapshots
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading.fates import variance_over_surroundings
from vgfm_sc.tl import _errors


class Known:
    """A model whose growth is ``rate t + slope x``."""

    def __init__(self, rate: float, slope: float):
        self.rate, self.slope = rate, slope
        self.scaling = Scaling(np.zeros(1), 1.0, 0.0, 1.0)

    def __call__(self, t, x):
        return np.zeros(x.shape), self.rate * t + self.slope * x[:, 0]


def course(*snapshots: np.ndarray) -> Snapshots:
    """Cells on a line at times 0, 2, 4, ..."""
    x, points = np.concatenate(snapshots)[:, None], 2.0 * np.arange(len(snapshots))
    time = np.repeat(points, [len(at) for at in snapshots])
    return Snapshots(time=time, time_points=points, rows=[np.flatnonzero(time == t) for t in points], x=x)


@pytest.fixture(scope="module")
def three(unfitted, small) -> ad.AnnData:
    """An ensemble; copy before changing."""
    return tl.fit(unfitted, "time", copy=True, n_models=3, **{**small, "match_steps": 20, "fit_steps": 0})


@pytest.mark.parametrize("off", [0.2, 1.0, 5.0])
def test_factor_is_that_by_which_change_exceeds_what_the_sample_makes_of_it(off):
    rng = np.random.default_rng(0)
    sd = np.exp(rng.standard_normal(20_000))  # of each place its own
    main = off * sd * rng.standard_normal(20_000)
    others = main + sd * rng.standard_normal((200, 20_000))
    assert _errors.factor(np.stack([main, *others])) == pytest.approx(off, rel=0.03)


def test_factor_is_not_known_from_few_places_or_models_that_agree():
    rng = np.random.default_rng(0)
    assert _errors.factor(rng.standard_normal((3, _errors.FEWEST_PLACES - 1))) is None
    assert _errors.factor(np.ones((3, 100))) is None
    assert _errors.factor(np.empty((3, 0))) is None
    assert _errors.factor(rng.standard_normal((3, _errors.FEWEST_PLACES))) > 0


def test_times_are_compared_where_both_have_cells_and_by_each_model():
    line, elsewhere = np.linspace(0, 1, 50), np.linspace(9, 10, 30)
    both = course(np.append(line, elsewhere), line, line)  # the cells elsewhere are gone after the first time
    found = _errors.across_times([Known(0.3, 5.0), Known(-1.0, 0.0)], both, 0)
    assert found.shape == (2, 4 * 50)
    # to the next time and back
    np.testing.assert_allclose(np.sort(found, axis=1)[:, [0, 99, 100, -1]], [[-0.6, -0.6, 0.6, 0.6], [-2, -2, 2, 2]])


def test_one_interval_or_hardly_any_cells_are_not_compared():
    line, models = np.linspace(0, 1, 50), [Known(0.3, 1.0), Known(0.2, 1.0)]
    assert _errors.across_times(models, course(line, line), 0).shape == (2, 0)
    assert _errors.across_times(models, course(line[:5], line[:5], line[:5]), 0).shape == (2, 0)
    assert _errors.across_times(models, course(line[:5], line, line), 0).shape == (2, 2 * 50)


def test_large_snapshots_are_compared_at_some_of_their_places(monkeypatch):
    monkeypatch.setattr(_errors, "MOST_CELLS", 20)
    line = np.linspace(0, 1, 300)
    found = _errors.across_times([Known(1.0, 0.0), Known(2.0, 0.0)], course(line, line, line), 0)
    assert 40 < found.shape[1] <= 80
    np.testing.assert_allclose(np.abs(found), [[2.0] * found.shape[1], [4.0] * found.shape[1]])


def test_variance_over_surroundings_is_that_of_the_weighted_neighbours():
    rng = np.random.default_rng(0)
    x, values = rng.standard_normal((60, 3)), rng.standard_normal((60, 2))
    wanted = np.empty_like(values)
    for i in range(60):
        distance = np.linalg.norm(x - x[i], axis=1)
        near = np.argsort(distance)[:11]  # the last of them weighs nothing
        weight = (1 - (distance[near] / distance[near[-1]]) ** 2) ** 2
        mean = np.average(values[near], axis=0, weights=weight)
        wanted[i] = np.average((values[near] - mean) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(variance_over_surroundings(x, values, 0), wanted, rtol=1e-4)
    np.testing.assert_allclose(variance_over_surroundings(x, values + 1e5, 0), wanted, rtol=1e-4)
    assert not variance_over_surroundings(x, np.full((60, 1), 0.3), 0).any()


def test_an_error_is_the_factor_times_the_distance_of_models_and_what_surroundings_add():
    x, flat = np.linspace(0, 1, 40)[:, None], np.full((40, 1), 2.0)
    models = np.stack([flat, flat + 0.3, flat - 0.4])
    np.testing.assert_allclose(_errors.expected(models, x, 0, 3.0), 3 * np.sqrt((0.09 + 0.16) / 2))
    alike = np.stack([x, x])
    np.testing.assert_allclose(_errors.expected(alike, x, 0, 3.0) ** 2, variance_over_surroundings(x, x, 0))
    both = _errors.expected(models + x, x, 0, 3.0) ** 2
    np.testing.assert_allclose(both, 9 * 0.125 + variance_over_surroundings(x, x, 0))


def test_error_of_growth_is_written_with_the_factor_of_it(three):
    adata = three.copy()
    tl.growth_error(adata)
    x, time, error = adata.obsm["X_genes"], adata.obs["time"].to_numpy(), adata.obs["vgfm_growth_error"]
    models = [get.model(adata, member=k) for k in range(3)]
    about = adata.uns["vgfm"]["growth_error"]
    growth = np.stack([model(time, x)[1] for model in models])[:, :, None]
    wanted = _errors.expected(growth, models[0].scaling.to_unitless(x), 0, about["factor"])[:, 0]
    assert error.dtype == np.float32 and about["factor"] > 0 and about["n_places"] > 100
    np.testing.assert_allclose(error, wanted, rtol=1e-5)
    assert "obs:vgfm_growth_error" in adata.uns["vgfm"]["derived"]
    again = three.copy()
    tl.growth_error(again)
    np.testing.assert_array_equal(again.obs["vgfm_growth_error"], error)


def test_the_error_goes_with_the_ensemble(three, small):
    adata = three.copy()
    tl.growth_error(adata)
    tl.fit(adata, "time", **{**small, "match_steps": 2, "fit_steps": 0})
    assert "vgfm_growth_error" not in adata.obs and "growth_error" not in adata.uns["vgfm"]


def test_with_two_time_points_the_factor_is_one_and_a_warning_says_what_is_missing(unfitted, small):
    adata = unfitted[unfitted.obs["time"] < 2].copy()
    tl.fit(adata, "time", n_models=2, **{**small, "match_steps": 2, "fit_steps": 0})
    with pytest.warns(UserWarning, match="not compared between times.*another sample") as caught:
        tl.growth_error(adata)
    assert [w.filename for w in caught] == [__file__]
    assert adata.uns["vgfm"]["growth_error"] == {"factor": 1.0, "n_places": 0}
    assert (adata.obs["vgfm_growth_error"] > 0).all()


def test_conditions_are_asked_with_their_own_models(small):
    adata = datasets.branching(n_cells=40, n_dims=2, treatment="growth", times=(0.0, 1.0, 2.0))
    few = {**small, "use_rep": "X_state", "match_steps": 5, "fit_steps": 0}
    tl.fit(adata, "time", n_models=2, condition_key="condition", **few)
    tl.growth_error(adata)
    factor, error = adata.uns["vgfm"]["growth_error"]["factor"], np.empty(adata.n_obs)
    for name in ("control", "treated"):
        own = (adata.obs["condition"] == name).to_numpy()
        x, time = adata.obsm["X_state"][own], adata.obs["time"].to_numpy()[own]
        models = [get.model(adata, member=k, condition=name) for k in range(2)]
        growth = np.stack([model(time, x)[1] for model in models])[:, :, None]
        error[own] = _errors.expected(growth, models[0].scaling.to_unitless(x), 0, factor)[:, 0]
    np.testing.assert_allclose(adata.obs["vgfm_growth_error"], error, rtol=1e-4)


def test_what_cannot_have_an_error_bar_is_refused(fitted, three, unchanged):
    taken = three.copy()
    taken.obs["vgfm_growth_error"] = 1.0
    late = three.copy()
    late.obs.loc[late.obs["time"] == 4, "time"] = 5.0
    del late.obsm["vgfm_velocity_genes"]
    for adata, error, message in (
        (fitted.copy(), KeyError, r"has one model.*vgfm_sc\.tl\.fit\(.*n_models"),
        (taken, ValueError, r"obs\['vgfm_growth_error'\].*Rename"),
        (late, ValueError, "the fit covers 0 to 4"),
    ):
        with unchanged(adata), pytest.raises(error, match=message):
            tl.growth_error(adata)


def test_error_of_fates_is_the_distance_of_models_and_what_surroundings_add(three):
    adata, every = three.copy(), []
    adata.obs["cluster"] = pd.Categorical(np.array(["a", "b"])[np.arange(adata.n_obs) % 2])
    tl.fate(adata, "cluster")
    error = adata.obsm["vgfm_fate_error"]
    for k in range(3):
        alone = three.copy()
        alone.obs["cluster"] = adata.obs["cluster"]
        others = alone.uns["vgfm"].pop("ensemble")
        del alone.obsm["vgfm_velocity_genes"]  # that of the first
        if k:
            alone.uns["vgfm"]["weights"] = others[str(k)]
        tl.fate(alone, "cluster")
        assert "vgfm_fate_error" not in alone.obsm
        every.append(alone.obsm["vgfm_fate"].to_numpy(dtype=float))
    early = (adata.obs["time"] < 4).to_numpy()
    x = get.model(adata).scaling.to_unitless(adata.obsm["X_genes"][early])
    np.testing.assert_allclose(error[early], _errors.expected(np.stack(every)[:, early], x, 0), atol=1e-5)
    assert not error[~early].to_numpy().any() and (error.dtypes == np.float32).all()
    tl.fate(adata, "cluster", direction="backward")
    assert "vgfm_origin_error" not in adata.obsm


@pytest.mark.slow
def test_two_error_bars_hold_the_truth_where_two_spreads_do_not():
    adata = datasets.bistable(n_cells=250, n_dims=2)
    settings = {"match_steps": 500, "fit_steps": 0, "score": False, "progress": False, "n_models": 4}
    mass = adata.obs["time"].value_counts().to_dict()
    tl.fit(adata, "time", use_rep="X_state", mass=mass, **settings)
    tl.growth_error(adata)
    off = np.abs(adata.obs["vgfm_growth"] - adata.obs["true_growth"])
    spread, error = ((off < 2 * adata.obs[f"vgfm_growth_{name}"]).mean() for name in ("sd", "error"))
    assert spread < 0.6 and error > 0.85
