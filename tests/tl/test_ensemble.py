from __future__ import annotations

from dataclasses import replace

import anndata as ad
import joblib
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import get, tl
from vgfm_sc.methods import Method, vgfm
from vgfm_sc.tl import _models

SPREAD = ["vgfm_growth_sd", "vgfm_velocity_sd"]


@pytest.fixture(scope="module")
def tiny(small) -> dict:
    return {**small, "width": 16, "match_steps": 30, "fit_steps": 0}


@pytest.fixture(scope="module")
def one(unfitted, tiny):
    return tl.fit(unfitted, "time", copy=True, **tiny)


@pytest.fixture(scope="module")
def two(unfitted, tiny):
    """An ensemble; copy before changing."""
    return tl.fit(unfitted, "time", copy=True, n_models=2, **tiny)


def test_spread_of_growth_and_velocity_is_written(two):
    for name in SPREAD:
        assert two.obs[name].dtype == np.float32
        assert np.isfinite(two.obs[name]).all() and (two.obs[name] > 0).all()
    assert two.uns["vgfm"]["params"]["n_models"] == 2


def test_the_model_itself_is_that_of_a_single_fit(one, two):
    assert not set(SPREAD) & set(one.obs)
    for name in ("vgfm_growth", "vgfm_mass"):
        np.testing.assert_array_equal(two.obs[name], one.obs[name])
    np.testing.assert_array_equal(two.obsm["vgfm_velocity_genes"], one.obsm["vgfm_velocity_genes"])
    assert (two.obsp["vgfm_coupling"] != one.obsp["vgfm_coupling"]).nnz == 0
    x = one.obsm["X_genes"]
    for found, wanted in zip(get.model(two)(1.5, x), get.model(one)(1.5, x), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_same_seed_gives_the_same_spread_and_another_seed_another(unfitted, two, tiny, same_random_state):
    again = tl.fit(unfitted, "time", copy=True, n_models=2, **tiny)
    other = tl.fit(unfitted, "time", copy=True, n_models=2, seed=1, **tiny)
    for name in SPREAD:
        np.testing.assert_array_equal(again.obs[name], two.obs[name])
        assert not np.array_equal(other.obs[name], two.obs[name])


def test_workers_change_nothing(unfitted, two, tiny, workers, same_random_state):
    with joblib.parallel_config(**workers):
        there = tl.fit(unfitted, "time", copy=True, n_models=2, **tiny)
    pd.testing.assert_frame_equal(there.obs, two.obs)
    assert (there.obsp["vgfm_coupling"] != two.obsp["vgfm_coupling"]).nnz == 0
    x = two.obsm["X_genes"]
    for found, wanted in zip(get.model(there)(1.5, x), get.model(two)(1.5, x), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_couplings_that_did_not_converge_are_warned_of_at_the_callers_line(unfitted, tiny, workers):
    def coupling(x0, x1, mass0, mass1, generator):
        return replace(vgfm().coupling(x0, x1, mass0, mass1, generator), converged=False)

    method = Method(coupling)
    with joblib.parallel_config(**workers), pytest.warns(RuntimeWarning, match="did not converge") as caught:
        tl.fit(unfitted, "time", copy=True, n_models=2, method=method, **{**tiny, "match_steps": 2})
    assert len(caught) == 8 and {w.filename for w in caught} == {__file__}


def test_stages_show_their_progress_here_and_models_that_are_trained_at_once_theirs(unfitted, tiny, capsys):
    settings = {**tiny, "match_steps": 2, "progress": True}
    tl.fit(unfitted, "time", copy=True, n_models=2, **settings)
    shown = capsys.readouterr().err
    assert "coupling" in shown and "matching" in shown and "models" not in shown
    with joblib.parallel_config(backend="threading", n_jobs=2):
        tl.fit(unfitted, "time", copy=True, n_models=2, **settings)
        shown = capsys.readouterr().err
        assert "models" in shown and "coupling" not in shown and "matching" not in shown
        tl.fit(unfitted, "time", copy=True, **settings)
        shown = capsys.readouterr().err
        assert "coupling" in shown and "matching" in shown and "models" not in shown


def test_three_models_spread_as_their_standard_deviation(unfitted, tiny, monkeypatch):
    seen, real = [], tl._fit._models.fields
    monkeypatch.setattr("vgfm_sc.tl._fit._models.fields", lambda *args: seen.append(real(*args)) or seen[-1])
    adata = tl.fit(unfitted, "time", copy=True, n_models=3, **tiny)
    velocity, growth = (np.stack(parts) for parts in zip(*seen, strict=True))
    assert len(growth) == 3
    np.testing.assert_allclose(adata.obs["vgfm_growth"], growth[0], rtol=1e-6)
    np.testing.assert_allclose(adata.obs["vgfm_growth_sd"], growth.std(axis=0, ddof=1), rtol=1e-5)
    squared = ((velocity - velocity.mean(axis=0)) ** 2).sum(axis=(0, 2)) / 2
    np.testing.assert_allclose(adata.obs["vgfm_velocity_sd"], np.sqrt(squared), rtol=1e-5)


def test_each_model_can_be_asked(two, one):
    x, time = two.obsm["X_genes"], two.obs["time"].to_numpy()
    growth = np.stack([get.model(two, member=k)(time, x)[1] for k in range(2)])
    np.testing.assert_allclose(growth[0], two.obs["vgfm_growth"], atol=1e-5)
    np.testing.assert_allclose(growth.std(axis=0, ddof=1), two.obs["vgfm_growth_sd"], atol=1e-5)
    assert list(two.uns["vgfm"]["ensemble"]) == ["1"] and "ensemble" not in one.uns["vgfm"]


@pytest.mark.parametrize(
    ("member", "error", "words"),
    [
        (2, ValueError, "member=2, but the fit under 'vgfm' holds 2 models, counted from 0"),
        (-1, ValueError, "member must be at least 0"),
        ("1", TypeError, "member must be an integer"),
    ],
)
def test_models_that_are_not_there_are_told(two, member, error, words):
    with pytest.raises(error, match=words):
        get.model(two, member=member)


def test_a_single_fit_has_one_model_to_ask(one):
    with pytest.raises(ValueError, match=r"holds 1 model, counted from 0\. Run `vgfm_sc\.tl\.fit"):
        get.model(one, member=1)


def test_more_than_ten_models_are_kept_in_order(two, tmp_path):
    adata, weights = two.copy(), two.uns["vgfm"]["weights"]
    others = {str(k): {name: np.full_like(value, k) for name, value in weights.items()} for k in range(1, 12)}
    adata.uns["vgfm"] = {**two.uns["vgfm"], "ensemble": others}
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert [float(get.model(back, member=k).networks.rates[0]) for k in range(1, 12)] == list(range(1, 12))


def test_a_single_fit_afterwards_removes_the_spread(two, one, tiny):
    adata = two.copy()
    tl.fit(adata, "time", **tiny)
    assert list(adata.obs) == list(one.obs)
    np.testing.assert_array_equal(adata.obs["vgfm_growth"], one.obs["vgfm_growth"])


def test_an_ensemble_survives_a_file(two, tmp_path):
    two.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    for name in SPREAD:
        np.testing.assert_array_equal(back.obs[name], two.obs[name])


def test_a_column_of_the_users_own_is_not_overwritten(unfitted, tiny, unchanged):
    adata = unfitted.copy()
    adata.obs["vgfm_growth_sd"] = 1.0
    with unchanged(adata), pytest.raises(ValueError, match=r"obs\['vgfm_growth_sd'\]"):
        tl.fit(adata, "time", n_models=2, **tiny)


def test_every_model_couples_and_trains_on_its_own_draw(unfitted, tiny):
    sizes, distinct = [], []

    def coupling(x0, x1, mass0, mass1, generator):
        sizes.append(len(x0))
        distinct.append(len(x0.unique(dim=0)))
        return vgfm().coupling(x0, x1, mass0, mass1, generator)

    tl.fit(unfitted, "time", copy=True, n_models=3, method=Method(coupling), **{**tiny, "match_steps": 2})
    counts = unfitted.obs["time"].value_counts().sort_index().to_numpy()[:-1]
    assert sizes[:4] == counts.tolist()
    for drawn in (slice(4, 8), slice(8, 12)):
        np.testing.assert_allclose(sizes[drawn], counts, rtol=0.4)
        # the share drawn at least once is 1 - 1/e; at the first time point some cells are at one place
        assert sum(distinct[drawn][1:]) / sum(counts[1:]) == pytest.approx(1 - np.exp(-1), abs=0.08)
    assert distinct[4:8] != distinct[8:12]


def test_draws_are_poisson_and_never_too_few_to_couple():
    rows = [np.arange(2000), np.arange(2000, 2003)]
    drawn = [_models.bootstrap(rows, np.random.default_rng(k)) for k in range(100)]
    sizes = np.array([len(cells) for cells, _ in drawn])
    assert sizes.mean() == pytest.approx(2000, rel=0.01)
    assert sizes.std() == pytest.approx(np.sqrt(2000), rel=0.3)
    counts = np.bincount(drawn[0][0], minlength=2000)
    assert counts.mean() == pytest.approx(counts.var(), rel=0.15)
    for _, few in drawn:
        assert len(np.unique(few)) >= 2 and set(few) <= {2000, 2001, 2002}


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [(0, ValueError, "n_models must be positive"), (1.5, TypeError, "integer"), (True, TypeError, "integer")],
)
def test_numbers_of_models_that_cannot_be_used_are_refused(unfitted, tiny, unchanged, value, error, words):
    with unchanged(unfitted), pytest.raises(error, match=words):
        tl.fit(unfitted, "time", n_models=value, **tiny)


@pytest.mark.slow
def test_growth_is_surer_where_there_are_more_cells():
    """Two clusters, far apart, of the same dynamics; one has twenty times the cells."""
    rng = np.random.default_rng(0)
    counts = [(0, 0.0, 400), (0, 1.0, 20), (1, 0.0, 600), (1, 1.0, 30), (2, 0.0, 900), (2, 1.0, 45)]
    x = np.concatenate([rng.normal([6 * side, 0.5 * t], 0.4, (n, 2)) for t, side, n in counts])
    time, side = (np.repeat([row[k] for row in counts], [n for *_, n in counts]) for k in (0, 1))
    obs = pd.DataFrame({"time": time.astype(float)}, index=np.arange(len(x)).astype(str))
    adata = ad.AnnData(obs=obs, obsm={"X_r": x})
    tl.fit(adata, "time", use_rep="X_r", n_models=6, width=32, depth=2, match_steps=300, fit_steps=0, progress=False)
    spread = adata.obs["vgfm_growth_sd"].groupby(side).mean()
    assert spread[1.0] > 2 * spread[0.0]
    velocity = adata.obs["vgfm_velocity_sd"].groupby(side).mean()
    assert velocity[1.0] > 2 * velocity[0.0]


def test_a_column_of_the_users_that_an_ensemble_would_write_is_left_alone(unfitted, tiny):
    adata = unfitted.copy()
    adata.obs["vgfm_growth_sd"] = 1.0
    tl.fit(adata, "time", **tiny)
    tl.fit(adata, "time", **tiny)
    assert (adata.obs["vgfm_growth_sd"] == 1.0).all()
    with pytest.raises(ValueError, match="vgfm_growth_sd"):
        tl.fit(adata, "time", n_models=2, **tiny)
