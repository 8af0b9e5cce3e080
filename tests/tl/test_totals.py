"""Population sizes given by the user in place of the numbers of cells."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import datasets, get, tl
from vgfm_sc.tl import _models

POINTS = np.array([0.0, 0.5, 2.0])


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Three uneven times; copy before changing."""
    return datasets.branching(n_cells=60, n_dims=3, times=POINTS, seed=0)


@pytest.fixture(scope="module")
def quick(small) -> dict:
    return {**small, "use_rep": "X_state", "match_steps": 20, "fit_steps": 2}


@pytest.fixture(scope="module")
def counted(data, quick):
    """A fit to counts; copy before changing."""
    return tl.fit(data, "time", copy=True, **quick)


def counts(adata) -> np.ndarray:
    return adata.obs["time"].value_counts().sort_index().to_numpy()


def given(values) -> dict:
    return dict(zip(POINTS.tolist(), np.asarray(values, dtype=float).tolist(), strict=True))


def same_fit(found, wanted) -> None:
    np.testing.assert_array_equal(found.obsm["vgfm_velocity_state"], wanted.obsm["vgfm_velocity_state"])
    for name in ("vgfm_growth", "vgfm_mass"):
        np.testing.assert_array_equal(found.obs[name], wanted.obs[name])
    assert (found.obsp["vgfm_coupling"] != wanted.obsp["vgfm_coupling"]).nnz == 0


def interval_growth(adata, k: int) -> np.ndarray:
    """Log of what the coupling makes of each cell of a time point."""
    return np.log(adata.obs["vgfm_mass"].to_numpy(dtype=float)[adata.obs["time"] == POINTS[k]])


def test_totals_equal_to_the_counts_change_nothing(data, quick, counted):
    same_fit(tl.fit(data, "time", mass=given(counts(data)), copy=True, **quick), counted)


def test_a_column_says_the_same_as_a_mapping(data, quick):
    totals = np.array([3.0, 5.0, 4.0])
    adata = data.copy()
    adata.obs["size"] = totals[np.searchsorted(POINTS, adata.obs["time"])]
    tl.fit(adata, "time", mass="size", **quick)
    same_fit(adata, tl.fit(data, "time", mass=given(totals), copy=True, **quick))
    np.testing.assert_array_equal(adata.uns["vgfm"]["params"]["totals"], totals)


@pytest.mark.parametrize(("factor", "exact"), [(1024.0, True), (0.3, False)])
def test_only_ratios_of_totals_matter(data, quick, factor, exact):
    totals = np.array([3.0, 5.0, 4.0])
    one, other = (tl.fit(data, "time", mass=given(t), copy=True, **quick) for t in (totals, factor * totals))
    if exact:
        same_fit(other, one)
    np.testing.assert_allclose(other.obs["vgfm_mass"], one.obs["vgfm_mass"], rtol=1e-5)
    np.testing.assert_allclose(other.obs["vgfm_growth"], one.obs["vgfm_growth"], rtol=1e-3, atol=1e-4)


def test_totals_move_all_growth_of_an_interval_by_one_number(data, quick, counted):
    """Whatever the totals, the coupling says the same of differences between cells."""
    totals = np.array([1.0, 4.0, 0.5])
    adata = tl.fit(data, "time", mass=given(totals), copy=True, **quick)
    for k in range(2):
        n = counts(data)
        wanted = np.log(totals[k + 1] / totals[k]) - np.log(n[k + 1] / n[k])
        np.testing.assert_allclose(interval_growth(adata, k) - interval_growth(counted, k), wanted, atol=1e-4)


@pytest.mark.parametrize("method", ["vgfm", "otcfm"])
def test_populations_that_double_in_each_unit_of_time_grow_at_log_2(data, quick, method):
    adata = tl.fit(data, "time", mass=given(2**POINTS), method=method, copy=True, **quick)
    for k in range(2):  # cells of a time point hold equal mass
        assert np.exp(interval_growth(adata, k)).mean() == pytest.approx(2 ** (POINTS[k + 1] - POINTS[k]), rel=1e-4)
    tl.simulate(adata, n_cells=None, times=POINTS[1:], tol=1e-5)
    grown = adata.uns["vgfm"]["trajectories"]["mass"].mean(axis=1)
    np.testing.assert_allclose(grown, 2**POINTS, rtol=1e-4)


@pytest.mark.parametrize("mass", [given([1, 1, 1]), "equal"], ids=["given", "equal"])
def test_equal_totals_leave_growth_that_sums_to_nothing(data, quick, mass):
    adata = tl.fit(data, "time", mass=mass, copy=True, **quick)
    for k in range(2):
        assert np.exp(interval_growth(adata, k)).mean() == pytest.approx(1, rel=1e-4)
    tl.simulate(adata, n_cells=None, times=POINTS[1:], tol=1e-5)
    np.testing.assert_allclose(adata.uns["vgfm"]["trajectories"]["mass"].mean(axis=1), 1, rtol=1e-4)


def test_cells_of_a_time_point_share_its_total_equally(data, quick):
    totals, n = np.array([1.0, 4.0, 0.5]), counts(data)
    adata = tl.fit(data, "time", mass=given(totals), copy=True, **quick)
    held = totals / n * n[0]  # where a cell of the first time point holds 1
    for k, plan in enumerate(get.couplings(adata).values()):
        np.testing.assert_allclose(plan.sum(axis=0), held[k + 1], rtol=1e-4)
        np.testing.assert_allclose(
            np.log(np.asarray(plan.sum(axis=1)).ravel() / held[k]), interval_growth(adata, k), atol=1e-4
        )


def test_evaluate_speaks_of_the_totals_given(data, quick, counted):
    totals = np.array([10.0, 400.0, 5.0])
    adata = tl.fit(data, "time", mass=given(totals), copy=True, **quick)
    table = tl.evaluate(adata)
    assert table["mass_observed"].tolist() == [400, 5]
    np.testing.assert_allclose(table["mass_predicted"], [400, 5], rtol=1e-3)
    assert (table["rme"] < 1e-3).all()
    some = adata[np.arange(adata.n_obs) % 3 > 0].copy()
    assert tl.evaluate(some)["mass_observed"].tolist() == [400, 5]
    assert tl.evaluate(counted)["mass_observed"].tolist() == counts(data)[1:].tolist()


def test_times_left_out_are_compared_with_the_totals_given(data, quick):
    totals = np.array([10.0, 400.0, 5.0])
    table = tl.holdout(data, "time", mass=given(totals), **quick).set_index("prediction")
    assert (table["mass_observed"] == 400).all()
    assert table.loc["linear", "mass_predicted"] == pytest.approx(10 ** (1 - 0.25) * 5**0.25)
    assert table.loc["nearest", "mass_predicted"] == pytest.approx(10)
    rest = data[data.obs["time"] != 0.5].copy()
    for method in ("vgfm", "otcfm"):
        tl.fit(rest, "time", mass={0: 10, 2: 5}, method=method, **quick)
        first = rest.obsm["X_state"][rest.obs["time"] == 0]
        mass = get.model(rest).simulate(first, [0, 0.5], tol=1e-4)[1][-1]
        assert table.loc[method, "mass_predicted"] == pytest.approx(10 * mass.mean(), rel=1e-4)


def test_labels_of_time_map_name_the_totals(data, quick, tmp_path):
    adata = data.copy()
    adata.obs["stage"] = [f"E{8 + t:g}" for t in adata.obs["time"]]
    time_map, mass = {"E8": 0, "E8.5": 0.5, "E10": 2}, {"E8": 1, "E8.5": 3, "E10": 2}
    tl.fit(adata, "stage", time_map=time_map, mass=mass, **quick)
    assert tl.evaluate(adata)["mass_observed"].tolist() == [3, 2]
    adata.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(tl.evaluate(ad.read_h5ad(tmp_path / "a.h5ad")), tl.evaluate(adata))


def test_labels_of_time_map_name_times(data, quick):
    adata = data.copy()
    adata.obs["stage"] = [f"E{8 + t:g}" for t in adata.obs["time"]]
    time_map = {"E8": 0, "E8.5": 0.5, "E10": 2}
    tl.fit(adata, "stage", time_map=time_map, **quick)
    tl.simulate(adata, start="E8.5", times=["E10"])
    assert get.trajectories(adata)["time"].unique().tolist() == [0.5, 2]
    pd.testing.assert_frame_equal(tl.interpolate(adata, "E8.5").obs, tl.interpolate(adata, 0.5).obs)
    tl.descendants(adata, adata.obs["stage"] == "E8", to="E8.5")
    assert adata.obs.loc[adata.obs["stage"] == "E10", "vgfm_descendants"].isna().all()
    table = tl.holdout(adata, "stage", time_map=time_map, times="E8.5", **quick)
    assert table["time"].unique().tolist() == [0.5]
    with pytest.raises(TypeError, match=r"got 'E9'. Labels: \['E10', 'E8', 'E8.5'\]. Time points: \[0.0, 0.5, 2.0\]"):
        tl.simulate(adata, start="E9")


def told_to_train(monkeypatch) -> list[tuple]:
    """Totals and masses of each model, as they reach training."""
    told, real = [], _models.train

    def train(courses, *arguments, **settings):
        (course,) = courses
        told.append((course.totals, course.masses, [len(x) for x in course.positions]))
        return real(courses, *arguments, **settings)

    monkeypatch.setattr(_models, "train", train)
    return told


def test_totals_given_are_those_of_every_model_of_an_ensemble(data, quick, monkeypatch):
    settings = {**quick, "match_steps": 2, "fit_steps": 0, "n_models": 3}
    told = told_to_train(monkeypatch)
    tl.fit(data, "time", mass=given([1, 2, 3]), copy=True, **settings)
    assert [totals for totals, _, _ in told] == [[1, 2, 3]] * 3
    for _, masses, n in told:
        np.testing.assert_allclose(masses, np.array([1, 2, 3]) / n * n[0])
    told.clear()
    tl.fit(data, "time", copy=True, **settings)
    assert len({tuple(totals) for totals, _, _ in told}) == 3  # counts vary as counts do
    assert [masses for _, masses, _ in told] == [[1, 1, 1]] * 3


def test_cells_held_out_of_training_do_not_change_the_totals(data, quick, monkeypatch):
    told = told_to_train(monkeypatch)
    adata = tl.fit(data, "time", mass=given([1, 2, 3]), validation=0.3, copy=True, **quick)
    assert told[0][0] == [1, 2, 3] and sum(told[0][2]) < data.n_obs
    for k, ratio in enumerate((2, 1.5)):
        assert np.nanmean(np.exp(interval_growth(adata, k))) == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("tool", [tl.fit, tl.holdout])
@pytest.mark.parametrize(
    ("mass", "error", "message"),
    [
        ({0: 1, 0.5: 1}, ValueError, r"Without a total: \[2\.0\]"),
        ({0: 1, 0.5: 1, 2: 1, 3: 1}, ValueError, r"\[3\]"),
        ({0: 1, 0.5: 0, 2: 1}, ValueError, "positive"),
        ("size", KeyError, "mass='size' not found"),
        ("true_growth", ValueError, "one total for each time point"),
        (2.0, TypeError, "mass must be"),
    ],
)
def test_bad_totals_are_refused_and_change_nothing(data, quick, unchanged, tool, mass, error, message):
    with unchanged(data), pytest.raises(error, match=message):
        tool(data, "time", mass=mass, **quick)
