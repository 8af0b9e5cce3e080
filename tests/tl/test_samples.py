"""Samples, such as animals: totals are means over them, ensembles draw them again, and their differences are told."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import _anndata, datasets, tl
from vgfm_sc._anndata.samples import share_between
from vgfm_sc.tl import _models

TINY = {"width": 16, "depth": 2, "match_steps": 5, "match_size": 32, "fit_steps": 0, "score": False, "progress": False}
QUICK = {"use_rep": "X_r", "sample_key": "animal", **TINY}


def made(counts: dict[tuple[float, str], int], seed: int = 0) -> ad.AnnData:
    """``{(time, animal): number of cells}``, all cells of a time from one distribution."""
    time, animal = (np.repeat([k[j] for k in counts], list(counts.values())) for j in (0, 1))
    obs = pd.DataFrame({"time": time.astype(float), "animal": pd.Categorical(animal)})
    obs.index = obs.index.astype(str)
    rng = np.random.default_rng(seed)
    return ad.AnnData(obs=obs, obsm={"X_r": rng.standard_normal((len(obs), 2)) + time.astype(float)[:, None]})


@pytest.fixture(scope="module")
def counts() -> dict[tuple[float, str], int]:
    """Three animals at each of three times; more and more cells an animal."""
    return {(t, f"{t}{name}"): int(n * (1 + t)) for t in (0, 1, 2) for name, n in (("a", 20), ("b", 30), ("c", 40))}


@pytest.fixture(scope="module")
def cells(counts) -> ad.AnnData:
    return made(counts)


@pytest.fixture(scope="module")
def fitted(cells) -> ad.AnnData:
    return tl.fit(cells, "time", copy=True, n_models=4, **QUICK)


def samples_of(adata: ad.AnnData, mass="counts", key="animal") -> _anndata.Sampling:
    return _anndata.read_sampling(adata, "time", None, mass, None, key)


def test_totals_are_means_over_samples_so_more_samples_are_not_more_cells(counts):
    twice = {**counts, **{(1, f"1{name}"): n for name, n in (("d", 40), ("e", 60), ("f", 80))}}
    for held in (counts, twice):
        adata = made(held)
        tl.fit(adata, "time", **QUICK)
        np.testing.assert_allclose(adata.uns["vgfm"]["params"]["totals"], [30, 60, 90])
        tl.evaluate(adata, max_cells=20)
        np.testing.assert_allclose(adata.uns["vgfm"]["evaluation"]["mass_observed"], [60, 90])
    total = adata.obsp["vgfm_coupling"].sum()
    assert total == pytest.approx((60 + 90) / 30 * 90, rel=0.01)  # in masses of one of the 90 cells of the first time


def test_a_column_of_mass_holds_a_total_for_each_sample(cells, unchanged):
    adata = cells.copy()
    adata.obs["size"] = adata.obs["animal"].map({"0a": 1.0, "0b": 2.0, "0c": 3.0}).astype(float)
    adata.obs["size"] = adata.obs["size"].fillna(adata.obs["time"] * 7)
    tl.fit(adata, "time", mass="size", **QUICK)
    np.testing.assert_allclose(adata.uns["vgfm"]["params"]["totals"], [2, 7, 14])
    assert adata.uns["vgfm"]["samples"]["table"]["size"].tolist() == [1, 2, 3, 7, 7, 7, 14, 14, 14]
    adata.obs.iloc[0, adata.obs.columns.get_loc("size")] = 5
    with unchanged(adata), pytest.raises(ValueError, match=r"one total for each sample.*\{'0a': 2\}"):
        tl.fit(adata, "time", mass="size", **QUICK)
    equal = tl.fit(cells, "time", mass="equal", copy=True, **QUICK)
    np.testing.assert_array_equal(equal.uns["vgfm"]["params"]["totals"], [1, 1, 1])
    assert equal.uns["vgfm"]["samples"]["table"]["size"].isna().all()


def test_the_spread_of_draws_is_that_of_new_samples(counts):
    """The variance of a mean over n - 1 of n samples, drawn with replacement, is s^2 / n."""
    sampling = samples_of(made(counts))
    groups, rng = sampling.groups(), np.random.default_rng(0)
    drawn = np.stack([sampling.samples.drawn(groups, rng) for _ in range(2000)])
    assert (drawn.sum(axis=1) == 2 * 3).all()
    totals = np.array([[sampling.samples.total(rows, n) for rows in groups.rows] for n in drawn])
    np.testing.assert_allclose(totals.mean(axis=0), [30, 60, 90], rtol=0.02)
    np.testing.assert_allclose(totals.var(axis=0), [100 / 3, 400 / 3, 900 / 3], rtol=0.12)
    np.testing.assert_allclose(np.corrcoef(totals.T), np.eye(3), atol=0.06)  # other animals at other times


def test_a_sample_at_several_times_is_drawn_as_one():
    sampling = samples_of(made({(t, name): 10 for t in (0, 1) for name in "abcd"}))
    rng = np.random.default_rng(0)
    for _ in range(10):
        again, drawn = _models.again(sampling, rng)
        assert drawn.sum() == 3
        for rows in again.rows:
            np.testing.assert_array_equal(np.bincount(sampling.samples.codes[rows], minlength=4), 10 * drawn)


def test_models_of_an_ensemble_are_of_samples_drawn_again(fitted, counts):
    about = fitted.uns["vgfm"]["samples"]
    assert about["names"].tolist() == sorted(name for _, name in counts)
    assert about["drawn"].shape == (3, 9) and (about["drawn"].reshape(3, 3, 3).sum(axis=2) == 2).all()
    assert len({tuple(row) for row in about["drawn"]}) == 3
    assert fitted.uns["vgfm"]["params"]["sample_key"] == "animal"


@pytest.mark.slow
def test_the_spread_of_growth_is_that_of_the_animals_not_of_the_cells():
    """Animals differ twofold in their cells at the last time; cells are many, so they say the total exactly."""
    adata = made({(t, f"{t}{name}"): n for t in (0, 1) for name, n in (("a", 100), ("b", 100 + 100 * t))})
    few = {**QUICK, "n_models": 8, "match_steps": 60}
    samples = tl.fit(adata, "time", copy=True, **few).obs["vgfm_growth_sd"].mean()
    few.pop("sample_key")
    drawn = tl.fit(adata, "time", copy=True, **few).obs["vgfm_growth_sd"].mean()
    assert samples > 1.5 * drawn


def test_the_table_names_every_sample(fitted, counts):
    table = fitted.uns["vgfm"]["samples"]["table"]
    assert list(table) == ["sample", "time", "cells", "size", "between"]
    assert dict(zip(zip(table["time"], table["sample"], strict=True), table["cells"], strict=True)) == counts
    assert (table["size"] == table["cells"]).all()
    assert table.groupby("time")["between"].nunique().eq(1).all() and table["between"].between(0, 0.1).all()


def test_samples_of_one_population_have_no_variance_between_them():
    """Whatever their numbers of cells: the expectation is 0, of which the negative half is cut off."""
    rng, codes = np.random.default_rng(0), np.repeat([0, 1, 2], [10, 30, 200])
    assert np.mean([share_between(rng.standard_normal((240, 3)), codes) for _ in range(200)]) < 0.01
    x = rng.standard_normal((240, 2))
    shifts = np.array([[-1.0, 1], [0, 0], [1, -1]])
    found = share_between(x + shifts[codes], codes)
    means = np.stack([(x + shifts[codes])[codes == k].mean(axis=0) for k in range(3)])
    assert found == pytest.approx(0.5, abs=0.12) and np.ptp(means) > 1  # variance 1 an axis within and between
    assert share_between(shifts[codes], codes) == 1
    assert np.isnan(share_between(x, np.zeros(240))) and share_between(np.zeros((4, 2)), np.array([0, 0, 1, 1])) == 0


def test_a_shift_between_samples_is_warned_of(cells):
    adata = cells.copy()
    adata.obsm["X_r"] = adata.obsm["X_r"] + 2.0 * (adata.obs["animal"] == "1b").to_numpy()[:, None]
    with pytest.warns(UserWarning, match=r"variance lies between samples of one time, \d\d% at 1\. Batch effects"):
        tl.fit(adata, "time", **QUICK)


def test_samples_that_cannot_be_told_from_times_are_warned_of():
    adata = made({(0, "a"): 20, (1, "b"): 25, (2, "c"): 30})
    with pytest.warns(UserWarning, match="every time point has one sample, so what differs between samples cannot"):
        tl.fit(adata, "time", n_models=3, **QUICK)
    assert (adata.uns["vgfm"]["samples"]["drawn"] == _anndata.BY_CELLS).all()
    assert adata.obs["vgfm_growth_sd"].gt(0).all()


def test_one_sample_alone_is_warned_of_and_its_cells_are_drawn_again():
    adata = made({(0, "a"): 20, (1, "b"): 25, (1, "c"): 25, (2, "d"): 30, (2, "e"): 20})
    with pytest.warns(UserWarning, match="one sample alone at 0. Models of an ensemble draw its cells again"):
        tl.fit(adata, "time", n_models=2, **QUICK)
    assert adata.uns["vgfm"]["samples"]["drawn"][0, 0] == _anndata.BY_CELLS
    sampling = samples_of(adata)
    again, _ = _models.again(sampling, np.random.default_rng(0))
    assert len(np.unique(again.rows[0])) < 20 and again.totals[0] == 20


def test_samples_of_conditions_are_drawn_within_them():
    adata = datasets.branching(n_cells=40, n_dims=2, times=(0, 1), treatment="none", n_samples=3)
    tl.fit(adata, "time", use_rep="X_state", condition_key="condition", sample_key="sample", n_models=3, **TINY)
    about, counts = adata.uns["vgfm"]["samples"], adata.obs.groupby(["condition", "time"], observed=True).size() / 3
    np.testing.assert_allclose(adata.uns["vgfm"]["params"]["totals"].ravel(), counts)
    of = pd.Series(about["names"]).str.rsplit("_", n=1).str[0]
    for row in about["drawn"]:
        assert pd.Series(row).groupby(of).sum().tolist() == [2, 2, 2, 2]
    assert about["table"]["condition"].tolist() == (["control"] * 3 + ["treated"] * 3) * 2


def test_a_common_start_has_the_mean_total_of_the_others():
    adata = datasets.branching(n_cells=40, n_dims=2, times=(0, 1), treatment="none", n_samples=2)
    adata = adata[~((adata.obs["condition"] == "treated") & (adata.obs["time"] == 0))].copy()
    with pytest.warns(UserWarning, match="have no cells at the first time"):
        tl.fit(adata, "time", use_rep="X_state", condition_key="condition", sample_key="sample", **TINY)
    totals = adata.uns["vgfm"]["params"]["totals"]
    assert totals[0, 0] == totals[1, 0] == (adata.obs["time"] == 0).sum() / 2


def test_times_left_out_are_compared_with_the_mean_sample(cells):
    adata = cells.copy()
    few = {name: value for name, value in QUICK.items() if name != "score"}
    scores = tl.holdout(adata, "time", score=False, max_cells=40, **few)
    assert (scores["mass_observed"] == 60).all()
    linear = scores.set_index("prediction").loc["linear", "mass_predicted"]
    assert linear == pytest.approx(np.sqrt(30 * 90))
    choice = tl.choose(adata, "time", candidates=["vgfm", "otcfm"], max_cells=40, **few)
    assert (adata.uns["choice_holdout"]["scores"]["mass_observed"] == 60).all() and choice.name == "vgfm"


def test_the_same_seed_gives_the_same_ensemble(cells, fitted):
    drawn = [_models.again(samples_of(cells), np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0][1], drawn[1][1])
    again = tl.fit(cells, "time", copy=True, n_models=2, **QUICK)
    np.testing.assert_array_equal(again.uns["vgfm"]["samples"]["drawn"][0], fitted.uns["vgfm"]["samples"]["drawn"][0])
    for name, value in again.uns["vgfm"]["ensemble"]["1"].items():
        np.testing.assert_array_equal(value, fitted.uns["vgfm"]["ensemble"]["1"][name])


def test_cells_held_out_leave_few_of_a_sample_and_the_draw_goes_on():
    adata = made({(t, f"{t}{name}"): n for t in (0, 1) for name, n in (("a", 2), ("b", 40))})
    tl.fit(adata, "time", n_models=5, validation=0.3, **QUICK)
    assert adata.obs["vgfm_growth_sd"].notna().all()


WRONG = {
    "no such column": (lambda a: None, "none", KeyError, r"'none' not found.*'animal'"),
    "missing": (lambda a: a.obs["animal"].where(a.obs["time"] > 0), "new", ValueError, "missing for 90 of 540"),
    "one": (lambda a: "x", "new", ValueError, "holds one sample, 'x'"),
    "numbers": (lambda a: np.arange(a.n_obs) % 3 + 0.5, "new", TypeError, "holds numbers"),
    "one cell": (
        lambda a: a.obs["animal"].astype(str).where(np.arange(a.n_obs) > 0, "new"),
        "new",
        ValueError,
        r"1 samples have fewer than 2 cells at a time: \['new'\]",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_samples_that_cannot_be_used_are_refused(cells, unchanged, what):
    values, key, error, words = WRONG[what]
    adata = cells.copy()
    adata.obs["new"] = values(adata)
    with unchanged(adata), pytest.raises(error, match=words):
        tl.fit(adata, "time", use_rep="X_r", sample_key=key, **TINY)
