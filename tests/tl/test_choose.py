from __future__ import annotations

import logging

import anndata as ad
import joblib
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import pl, tl
from vgfm_sc.core.path import straight
from vgfm_sc.methods import Method, vgfm
from vgfm_sc.tl import _left_out

TINY = {"use_rep": "X_r", "width": 16, "depth": 2, "match_steps": 30, "progress": False}
COLUMNS = ["candidate", "score", "gain", "error", "better", "chosen"]


def course(times=(0.0, 1.0, 4.0, 5.0), n=40, seed=0):
    """A cloud that moves on, of different draws at each time, far from the origin."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0, 1, (n, 2)) + [t + 7, 0] for t in times])
    obs = pd.DataFrame({"time": np.repeat(times, n)}, index=[f"cell{k}" for k in range(len(x))])
    return ad.AnnData(obs=obs, obsm={"X_r": x})


def detour(x0, x1, log_growth, s):
    """A path that leads far away in between."""
    point = straight(x0, x1, log_growth, s)
    return point._replace(x=point.x + (10 * s * (1 - s))[:, None], u=point.u + (10 * (1 - 2 * s))[:, None])


ASTRAY = Method(vgfm().coupling, detour, name="astray")


@pytest.fixture(scope="module")
def chosen():
    """Of a default that is far off, and vgfm."""
    adata = course()
    return adata, tl.choose(adata, "time", [ASTRAY, "vgfm"], **TINY)


def test_a_candidate_that_is_better_is_chosen(chosen):
    _, choice = chosen
    assert list(choice.table) == COLUMNS and choice.table["candidate"].tolist() == ["astray", "vgfm"]
    assert choice.name == "vgfm" and choice.method.name == "vgfm"
    assert choice.table["chosen"].tolist() == choice.table["better"].tolist() == [False, True]
    assert choice.reason.startswith("Chose 'vgfm': its gain over 'astray' is")
    first, second = choice.table.itertuples()
    assert first.gain == first.error == 0 and second.gain > 2 * second.error > 0
    assert first.score - second.score == pytest.approx(second.gain)


def test_the_default_stays_where_nothing_is_better(chosen, caplog):
    with caplog.at_level(logging.INFO, "vgfm_sc.tl._choose"):
        choice = tl.choose(course(), "time", {"plain": "vgfm", "astray": ASTRAY, "again": "vgfm"}, times=1, **TINY)
    assert choice.name == "plain" and choice.table["chosen"].tolist() == [True, False, False]
    assert choice.table["gain"][2] == choice.table["error"][2] == 0 and not choice.table["better"].any()
    assert choice.reason.startswith("Kept 'plain': no other candidate is better by more than chance over 1 time")
    assert choice.reason in caplog.messages


def test_where_nothing_can_be_predicted_it_says_so():
    adata = course(n=30)
    adata.obsm["X_r"] = np.random.default_rng(1).normal(7, 1, (adata.n_obs, 2))
    adata.obsm["X_r"][adata.obs["time"] == 1.0] += 30
    choice = tl.choose(adata, "time", ["vgfm", "otcfm"], times=1, **TINY)
    assert choice.name == "vgfm" and "no better than the nearest snapshot" in choice.reason


def test_fit_takes_the_choice(chosen):
    _, choice = chosen
    adata = course()
    tl.fit(adata, "time", method=choice.method, **TINY, fit_steps=0)
    assert adata.uns["vgfm"]["params"]["method"] == "vgfm"


def test_the_same_seed_makes_the_same_choice_and_nothing_else_changes(chosen, unchanged, same_random_state):
    before, choice = chosen
    adata = course()
    with unchanged(adata):
        again = tl.choose(adata, "time", [ASTRAY, "vgfm"], **TINY)
        pd.testing.assert_frame_equal(again.table, choice.table)
        kept = adata.uns.pop("choice_holdout")
    assert set(kept) == {"package", "scores", "candidates", "chosen", "reason"}
    pd.testing.assert_frame_equal(kept["candidates"], choice.table)
    pd.testing.assert_frame_equal(kept["scores"], before.uns["choice_holdout"]["scores"])
    assert (kept["chosen"], kept["reason"]) == (choice.name, choice.reason)


@pytest.mark.slow  # holdout has the same test, of the same jobs
def test_workers_change_nothing(chosen, workers):
    with joblib.parallel_config(**workers):
        again = tl.choose(course(), "time", ["vgfm", "otcfm"], times=1, **TINY)
    pd.testing.assert_frame_equal(again.table, tl.choose(course(), "time", ["vgfm", "otcfm"], times=1, **TINY).table)


def test_scores_are_those_of_holdout(chosen):
    adata, _ = chosen
    found = adata.uns["choice_holdout"]["scores"]
    assert found["prediction"].tolist() == ["astray", "vgfm", "linear", "nearest"] * 2
    wanted = tl.holdout(course(), "time", method=ASTRAY, **TINY, fit_steps=0, score=False)
    for name in ("astray", "linear", "nearest"):
        for score in ("energy", "spread", "w1", "mass_predicted", "mass_observed"):
            np.testing.assert_allclose(
                found.loc[found["prediction"] == name, score], wanted.loc[wanted["prediction"] == name, score]
            )


def test_on_a_view_nothing_is_kept(chosen, unchanged):
    adata = course()
    view = adata[adata.obs_names]
    with unchanged(adata):
        pd.testing.assert_frame_equal(tl.choose(view, "time", [ASTRAY, "vgfm"], **TINY).table, chosen[1].table)
    assert view.is_view and not view.uns


def test_it_is_drawn(chosen):
    adata, _ = chosen
    ax = pl.holdout(adata, key="choice", show=False)
    assert ax.get_title() == "chosen: vgfm"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["astray", "vgfm", "linear", "nearest"]
    with pytest.raises(KeyError, match=r"Scores present: key=\['choice'\]"):
        pl.holdout(adata)


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_it_can_be_stored(chosen, tmp_path, suffix):
    adata, choice = chosen
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    kept = again.uns["choice_holdout"]
    pd.testing.assert_frame_equal(kept["candidates"], choice.table, check_dtype=False, check_index_type=False)
    assert (kept["chosen"], kept["reason"]) == (choice.name, choice.reason)
    assert pl.holdout(again, key="choice", show=False).get_title() == "chosen: vgfm"


def fits_of(monkeypatch, n_times, candidates):
    """Which time points each fit is without."""
    found = []

    def refuse(snapshots, left_out, named, *others):
        found.extend(out for out in left_out for _ in named)
        raise InterruptedError

    monkeypatch.setattr("vgfm_sc.tl._predictions.by_models", refuse)
    with pytest.raises(InterruptedError):
        tl.choose(course(np.arange(float(n_times)), n=5), "time", candidates, **TINY)
    return found


@pytest.mark.parametrize("n_times", [3, 4, 5, 7, 12])
@pytest.mark.parametrize("n_candidates", [1, 2, 4, 8])
def test_at_most_eight_models_are_fitted_without_neighbouring_times(monkeypatch, n_times, n_candidates):
    candidates = {f"m{k}": "vgfm" for k in range(n_candidates)}
    fits = fits_of(monkeypatch, n_times, candidates)
    assert 1 <= len(fits) <= 8
    assert all(0 < k < n_times - 1 for out in fits for k in out)
    assert all((np.diff(out) >= 3).all() for out in fits)


def test_the_documented_candidates_are_taken(monkeypatch):
    assert len(fits_of(monkeypatch, 7, None)) == 8
    assert "``manifold(shared_growth=False, rho=0.5)``" in tl.choose.__doc__


def test_times_that_are_named_are_left_out_each():
    assert _left_out.groups([5, 1, 2, 4, 3]) == [[1, 4], [2, 5], [3]]
    found = tl.choose(adata := course(), "time", ["vgfm", "otcfm"], times=[4.0], **TINY)
    assert len(found.table) == 2 and (adata.uns["choice_holdout"]["scores"]["time"] == 4.0).all()


def test_a_prior_goes_to_the_candidates_that_take_it():
    adata = course()
    adata.obs["rate"] = np.linspace(0, 9, adata.n_obs)
    plain = tl.choose(adata, "time", ["vgfm", "otcfm"], times=1, **TINY).table["score"]
    told = tl.choose(adata, "time", ["vgfm", "otcfm"], times=1, growth_prior="rate", **TINY).table["score"]
    assert (plain != told).tolist() == [True, False]


def test_a_representation_centred_on_all_cells_warns_at_the_callers_line():
    adata = course()
    adata.obsm["X_r"] -= adata.obsm["X_r"].mean(axis=0)
    with pytest.warns(UserWarning, match=r"obsm\['X_r'\] is centred on all cells") as caught:
        tl.choose(adata, "time", ["vgfm"], times=1.0, **TINY)
    assert caught[0].filename == __file__


BAD = {
    "names twice": (
        {"candidates": [vgfm(), vgfm(rho=2)]},
        ValueError,
        r"2 methods named 'vgfm'.*candidates=\{'vgfm a'",
    ),
    "none": ({"candidates": {}}, ValueError, "candidates is empty"),
    "too many": ({"candidates": {str(k): "vgfm" for k in range(9)}}, ValueError, r"9 methods.*at most 8.*tl\.holdout"),
    "one": ({"candidates": vgfm()}, TypeError, "candidates must be a list"),
    "unknown": ({"candidates": ["tigon"]}, ValueError, "tigon"),
    "method": ({"method": "vgfm"}, TypeError, "takes its methods as candidates"),
    "copy": ({"copy": True}, TypeError, "does not accept copy"),
    "last time": ({"times": 5}, ValueError, r"\[1\.0, 4\.0\]"),
    "key": ({"key_added": "a/b"}, ValueError, "key_added='a/b' contains '/'"),
    "steps": ({"match_steps": 0.5}, TypeError, "match_steps must be an integer"),
    "tol": ({"tol": 0}, ValueError, "tol must be positive"),
    "width": ({"width": 0}, ValueError, "width must be positive"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(unchanged, case):
    arguments, error, message = BAD[case]
    adata = course()
    with unchanged(adata), pytest.raises(error, match=message):
        tl.choose(adata, "time", **{**TINY, **arguments})


def test_two_time_points_are_too_few():
    with pytest.raises(ValueError, match=r"at least three, found \[0\.0, 1\.0\]"):
        tl.choose(course(times=(0.0, 1.0)), "time", **TINY)


def test_an_entry_that_is_not_ours_is_not_overwritten(unchanged):
    adata = course()
    adata.uns["choice_holdout"] = "mine"
    with unchanged(adata), pytest.raises(ValueError, match=r"uns\['choice_holdout'\], not written by.*key_added"):
        tl.choose(adata, "time", **TINY)
