"""Growth that is expected of the cells beforehand."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from vgfm_sc import datasets, get, methods, tl

POINTS = np.array([0.0, 0.5, 2.0])


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Three uneven times and an expectation that has nothing to do with the cells; copy before changing."""
    adata = datasets.branching(n_cells=60, n_dims=3, times=POINTS, seed=0)
    rng = np.random.default_rng(0)
    adata.obs["expected"] = rng.normal(3, 0.5, adata.n_obs)
    adata.obs["alike"] = 1.7
    adata.obs["wide"] = 1e4 * adata.obs["expected"]
    adata.obs["wide at the end"] = np.where(adata.obs["time"] == 2, adata.obs["wide"], 0.0)
    adata.obs["gaps"] = np.where(np.arange(adata.n_obs) == 5, np.nan, 0.0)
    adata.obs["infinite"] = np.where(np.arange(adata.n_obs) == 5, -np.inf, 0.0)
    return adata


@pytest.fixture(scope="module")
def quick(small) -> dict:
    return {**small, "use_rep": "X_state", "match_steps": 20, "fit_steps": 0}


def follow(x0, x1, mass0, mass1, generator):
    """Cells send on what is expected of them, to all alike."""
    return mass0[:, None] * mass1 / mass0.sum()


def interval_growth(adata, k: int) -> np.ndarray:
    """Log of what the coupling makes of each cell of a time point."""
    return np.log(adata.obs["vgfm_mass"].to_numpy(dtype=float)[adata.obs["time"] == POINTS[k]])


def expectation(adata, k: int, name="expected") -> np.ndarray:
    """The same as expected, where cells hold equal mass and the total is that observed."""
    here = (adata.obs["time"] == POINTS[k]).to_numpy()
    log_growth = adata.obs[name].to_numpy()[here] * (POINTS[k + 1] - POINTS[k])
    return log_growth - np.log(np.exp(log_growth).sum()) + np.log((adata.obs["time"] == POINTS[k + 1]).sum())


@pytest.mark.parametrize(
    ("method", "atol"),
    [(methods.Method(follow), 1e-5), (methods.vgfm(rho=1e6, drift_rho=None, shared_growth=False), 1e-2)],
)
def test_row_masses_follow_the_prior_over_each_interval_where_nothing_speaks_against_it(data, quick, method, atol):
    """It is a rate: what it makes of a cell depends on the length of the interval. Its level is that of the totals."""
    adata = tl.fit(data, "time", growth_prior="expected", method=method, copy=True, **quick)
    for k in range(2):
        np.testing.assert_allclose(interval_growth(adata, k), expectation(adata, k), atol=atol)
    assert adata.uns["vgfm"]["params"]["growth_prior"] == "expected"


def test_a_prior_alike_for_all_cells_changes_nothing(data, quick):
    one, other = (tl.fit(data, "time", growth_prior=name, copy=True, **quick) for name in (None, "alike"))
    for name in ("vgfm_growth", "vgfm_mass"):
        np.testing.assert_array_equal(one.obs[name], other.obs[name])
    assert "growth_prior" not in one.uns["vgfm"]["params"]


def test_the_unit_of_time_is_that_of_the_prior(data, quick):
    adata = data.copy()
    adata.obs["hour"], adata.obs["hourly"] = 24 * adata.obs["time"] + 7, adata.obs["expected"] / 24
    tl.fit(adata, "hour", growth_prior="hourly", **quick)
    daily = tl.fit(data, "time", growth_prior="expected", copy=True, **quick)
    np.testing.assert_allclose(adata.obs["vgfm_mass"], daily.obs["vgfm_mass"], rtol=1e-3)


def test_models_of_an_ensemble_and_cells_kept_for_training_have_their_own_prior(data, quick):
    calls = []

    def coupling(x0, x1, mass0, mass1, generator):
        calls.append((x0.numpy().copy(), np.log(mass0.numpy())))
        return follow(x0, x1, mass0, mass1, generator)

    settings = {**quick, "n_models": 2, "validation": 0.2}
    adata = tl.fit(data, "time", growth_prior="expected", method=methods.Method(coupling), copy=True, **settings)
    unitless = get.model(adata).scaling.to_unitless(adata.obsm["X_state"])
    assert len(calls) == 4
    for (x0, log_mass), k in zip(calls, (0, 1, 0, 1), strict=True):
        which = np.abs(x0[:, None] - unitless[None]).sum(axis=2).argmin(axis=1)
        assert (adata.obs["time"].to_numpy()[which] == POINTS[k]).all()
        log_growth = adata.obs["expected"].to_numpy()[which] * (POINTS[k + 1] - POINTS[k])
        assert np.ptp(log_growth) > 0.5 and np.ptp(log_mass - log_growth) < 1e-5


def test_only_the_method_itself_is_told_of_the_prior_when_times_are_left_out(data, quick):
    told = tl.holdout(data, "time", growth_prior="expected", **quick).set_index("prediction")
    plain = tl.holdout(data, "time", **quick).set_index("prediction")
    for name in ("otcfm", "linear", "nearest"):
        assert told.loc[name].equals(plain.loc[name])
    assert told.loc["vgfm", "w1"] != plain.loc["vgfm", "w1"]
    rest = data[data.obs["time"] != 0.5].copy()
    tl.fit(rest, "time", growth_prior="expected", **quick)
    first = rest.obsm["X_state"][rest.obs["time"] == 0]
    mass = get.model(rest).simulate(first, [0, 0.5], tol=1e-4)[1][-1]
    assert told.loc["vgfm", "mass_predicted"] == pytest.approx(mass.sum(), rel=1e-4)


BAD = {
    "missing": ({"growth_prior": "score"}, KeyError, r"growth_prior='score' not found in adata\.obs"),
    "NaN": ({"growth_prior": "gaps"}, ValueError, r"obs\['gaps'\] is missing or infinite for 1 of"),
    "infinite": ({"growth_prior": "infinite"}, ValueError, "missing or infinite for 1 of"),
    "text": ({"growth_prior": "cell_type"}, TypeError, "numbers are needed"),
    "no rate": ({"growth_prior": "wide"}, ValueError, "rate per unit of time"),
    "none at the end": (
        {"growth_prior": "wide at the end"},
        ValueError,
        r"cells at 2 to have multiplied e.* as others",
    ),
    "a number": ({"growth_prior": 0.3}, TypeError, "column of obs or None, got float"),
    "balanced": ({"growth_prior": "expected", "method": "otcfm"}, ValueError, r"grow alike.*vgfm\(rho=100\)"),
}


@pytest.mark.parametrize("tool", [tl.fit, tl.holdout])
@pytest.mark.parametrize("case", BAD)
def test_bad_priors_are_refused_and_change_nothing(data, quick, unchanged, tool, case):
    arguments, error, message = BAD[case]
    with unchanged(data), pytest.raises(error, match=message):
        tool(data, "time", **{**quick, **arguments})


@pytest.mark.slow
def test_a_true_prior_helps_and_a_wrong_one_is_overruled_as_rho_falls():
    adata = datasets.toggle_switch(n_per_branch=100, seed=0)
    truth = adata.obs["true_growth"]
    adata.obs["right"], adata.obs["wrong"] = truth, truth.max() - truth
    r, quick = {}, {"match_steps": 800, "fit_steps": 0, "score": False, "progress": False}
    for prior in (None, "right", "wrong"):
        for rho in (0.1, 10.0):
            tl.fit(adata, "time", use_rep="X_genes", method=methods.vgfm(rho=rho), growth_prior=prior, **quick)
            r[prior, rho] = np.corrcoef(adata.obs["vgfm_growth"], truth)[0, 1]
    assert r["right", 10.0] > r[None, 10.0] and r["right", 0.1] > r[None, 0.1] - 0.01
    assert r["wrong", 0.1] > 0.9 > r["wrong", 10.0]
