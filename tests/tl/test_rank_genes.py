from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from vgfm_sc import datasets, get, tl
from vgfm_sc._anndata import expression
from vgfm_sc.core.reading import ranking

sc = pytest.importorskip("scanpy")


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Thirty genes of some hundred cells, the last constant, and a PCA of the first 24; copy before changing."""
    adata = datasets.branching(n_cells=60, n_dims=4, n_genes=30, n_growth_genes=3, times=(0.0, 1.0, 2.0), seed=0)
    adata.X[:, 29] = 2.5
    adata.var["highly_variable"] = np.arange(30) < 24
    sc.pp.pca(adata, n_comps=6)
    return adata


@pytest.fixture(scope="module")
def on_pca(data, small) -> ad.AnnData:
    """With fates as `tl.fate` writes them; copy before changing."""
    adata = tl.fit(data, "time", copy=True, **{**small, "use_rep": "X_pca"})
    rng = np.random.default_rng(0)
    to_b = rng.random(adata.n_obs).astype(np.float32)
    fates = {"fate_b": to_b, "fate_a": 1 - to_b, "lost": np.zeros_like(to_b)}
    adata.obsm["vgfm_fate"] = pd.DataFrame(fates, index=adata.obs_names)
    return adata


def in_order(table, adata) -> pd.DataFrame:
    return table.set_index("names").loc[adata.var_names]


def assert_correlates(table, genes, quantity, time):
    """Within times, as of what is left of both without the means of these; the last gene is constant."""
    member = pd.get_dummies(pd.Series(np.asarray(time))).to_numpy(dtype=float)
    genes, quantity = (
        values - member @ np.linalg.lstsq(member, values)[0]
        for values in (np.asarray(genes, dtype=float)[:, :-1], np.asarray(quantity, dtype=float))
    )
    r = np.array([stats.pearsonr(gene, quantity).statistic for gene in genes.T])
    dof = len(quantity) - member.shape[1] - 1
    np.testing.assert_allclose(table["scores"][:-1], r, atol=1e-8)
    np.testing.assert_allclose(table["t"][:-1], r * np.sqrt(dof / (1 - r**2)), atol=1e-5)
    np.testing.assert_allclose(
        table["pvals"][:-1], 2 * stats.t.sf(np.abs(r) * np.sqrt(dof / (1 - r**2)), dof), rtol=1e-4
    )
    assert table["scores"].iloc[-1] == 0 and table["pvals"].iloc[-1] == 1
    np.testing.assert_allclose(table["pvals_adj"], stats.false_discovery_control(table["pvals"]))


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("layer", [None, "log"])
def test_by_growth_genes_are_ranked_by_their_correlation(on_pca, convert, layer, monkeypatch):
    monkeypatch.setattr(expression, "BLOCK_NUMBERS", 30 * 50)
    adata = on_pca.copy()
    genes = adata.X.copy()
    if layer is None:
        adata.X = convert(genes)
    else:
        adata.layers[layer], adata.X = convert(genes), np.ones_like(genes)
        adata.uns["pca"]["params"]["layer"] = layer
    assert tl.rank_genes(adata, layer=layer) is None
    table = get.genes(adata)
    assert list(table) == ["names", "scores", "t", "pvals", "pvals_adj", "sensitivity", "sensitivity_abs"]
    assert (np.diff(table["scores"]) <= 0).all() and set(table["names"]) == set(adata.var_names)
    assert_correlates(in_order(table, adata), genes, adata.obs["vgfm_growth"], adata.obs["time"])


def test_over_all_cells_at_once_the_correlation_is_that_of_scipy(on_pca):
    adata = on_pca.copy()
    tl.rank_genes(adata, within_time=False)
    table = in_order(get.genes(adata), adata)
    growth = adata.obs["vgfm_growth"].to_numpy(dtype=float)
    wanted = np.array([stats.pearsonr(gene, growth) for gene in adata.X.T[:-1].astype(float)])
    np.testing.assert_allclose(table["scores"][:-1], wanted[:, 0], atol=1e-8)
    np.testing.assert_allclose(table["pvals"][:-1], wanted[:, 1], rtol=1e-4)
    sensitivity = table["sensitivity"]
    tl.rank_genes(adata)
    pd.testing.assert_series_equal(in_order(get.genes(adata), adata)["sensitivity"], sensitivity)


def test_levels_of_whole_time_points_do_not_count(on_pca):
    """Such as growth has from counts that are off, and expression from batches."""
    adata, shifted = on_pca.copy(), on_pca.copy()
    time = shifted.obs["time"].to_numpy()
    shifted.obs["vgfm_growth"] += (3 * np.sin(9 * time)).astype(np.float32)
    shifted.X = shifted.X + (np.cos(time) * 4).astype(np.float32)[:, None] * (np.arange(30) % 3)
    shifted.X[:, -1] = 2.5
    tl.rank_genes(adata, layer=None)
    with pytest.warns(UserWarning, match="no longer the matrix"):
        tl.rank_genes(shifted)
    columns = ["scores", "t", "pvals"]
    pd.testing.assert_frame_equal(
        in_order(get.genes(shifted), adata)[columns], in_order(get.genes(adata), adata)[columns], atol=1e-5, rtol=1e-3
    )


def test_by_fate_each_fate_ranks_all_genes(on_pca):
    adata = on_pca.copy()
    tl.rank_genes(adata, "fate")
    table = get.genes(adata, "fate")
    assert list(table) == ["names", "group", "scores", "t", "pvals", "pvals_adj"]
    assert list(pd.unique(table["group"])) == ["fate_b", "fate_a", "lost"]
    for name in ("fate_a", "fate_b"):
        of_fate = get.genes(adata, "fate", group=name)
        assert (np.diff(of_fate["scores"]) <= 0).all()
        assert_correlates(in_order(of_fate, adata), adata.X, adata.obsm["vgfm_fate"][name], adata.obs["time"])
    lost = get.genes(adata, "fate", group="lost")
    assert not lost["scores"].any() and (lost["pvals_adj"] == 1).all()


def test_by_velocity_genes_are_ranked_by_their_speed(on_pca):
    adata = on_pca.copy()
    tl.rank_genes(adata, "velocity")
    tl.gene_velocity(adata)
    table, used = get.genes(adata, "velocity"), adata.var_names[:24]
    assert set(table["names"]) == set(used) and (np.diff(table["scores"]) <= 0).all()
    velocity = adata[:, table["names"]].layers["vgfm_velocity"].astype(float)
    np.testing.assert_allclose(
        table["scores"], velocity.mean(0) / adata[:, table["names"]].X.std(0, dtype=float), rtol=1e-4
    )
    wanted = stats.ttest_1samp(velocity, 0)
    np.testing.assert_allclose(table["t"], wanted.statistic, rtol=1e-4)
    np.testing.assert_allclose(table["pvals"], wanted.pvalue, rtol=1e-2)


@pytest.mark.parametrize("half", [False, True])
def test_sensitivity_is_the_difference_that_a_gene_alone_makes(on_pca, half):
    adata = on_pca.copy()
    cells = np.arange(adata.n_obs) < adata.n_obs // 2 if half else np.ones(adata.n_obs, dtype=bool)
    tl.rank_genes(adata, cells=cells if half else None)
    table, model = in_order(get.genes(adata), adata), get.model(adata)
    t, sd, h = adata.obs["time"].to_numpy()[cells], adata.X.std(axis=0, dtype=float), 0.2
    mean = adata.X.mean(axis=0, dtype=float)
    difference = np.empty((cells.sum(), 24))
    for gene in range(24):
        ends = []
        for sign in (1, -1):
            expressed = adata.X[cells].astype(float)
            expressed[:, gene] += sign * h * sd[gene]
            ends.append(model(t, (expressed - mean) @ adata.varm["PCs"])[1])
        difference[:, gene] = (ends[0] - ends[1]) / (2 * h)
    atol = 3e-3 * np.abs(difference).max()
    np.testing.assert_allclose(table["sensitivity"][:24], difference.mean(axis=0), atol=atol)
    np.testing.assert_allclose(table["sensitivity_abs"][:24], np.abs(difference).mean(axis=0), atol=atol)
    assert table[["sensitivity", "sensitivity_abs"]][24:].isna().all(axis=None)


def test_a_mask_and_positions_restrict_alike(on_pca):
    late = on_pca.obs["time"].to_numpy() == 2
    tables = []
    for cells in (late, np.flatnonzero(late)[::-1]):
        adata = on_pca.copy()
        tl.rank_genes(adata, cells=cells)
        tables.append(get.genes(adata))
    pd.testing.assert_frame_equal(*tables)
    assert_correlates(
        in_order(tables[0], on_pca), on_pca.X[late], on_pca.obs["vgfm_growth"][late], np.zeros(late.sum())
    )


def test_parts_of_a_shuffled_object_rank_alike(on_pca, monkeypatch):
    whole, shuffled = on_pca.copy(), on_pca[np.random.default_rng(0).permutation(on_pca.n_obs)].copy()
    tl.rank_genes(whole)
    monkeypatch.setattr("vgfm_sc.tl._rank_genes.BLOCK_CELLS", 11)
    tl.rank_genes(shuffled)
    pd.testing.assert_frame_equal(
        in_order(get.genes(shuffled), whole), in_order(get.genes(whole), whole), rtol=1e-4, atol=1e-7
    )


def test_cells_without_a_fate_are_not_asked(on_pca):
    adata = on_pca.copy()
    adata.obsm["vgfm_fate"].iloc[::3] = np.nan
    tl.rank_genes(adata, "fate")
    known = np.arange(adata.n_obs) % 3 > 0
    wanted, time = adata.obsm["vgfm_fate"]["fate_a"][known], adata.obs["time"][known]
    assert_correlates(in_order(get.genes(adata, "fate", group="fate_a"), adata), adata.X[known], wanted, time)


def test_gene_space_has_all_columns(data, small):
    adata = tl.fit(data, "time", copy=True, genes="highly_variable", **{**small, "use_rep": None})
    tl.rank_genes(adata)
    tl.rank_genes(adata, "velocity")
    table = in_order(get.genes(adata), adata)
    assert np.isfinite(table["sensitivity"][:24]).all() and table["sensitivity"][24:].isna().all()
    speed = get.genes(adata, "velocity").set_index("names")["scores"]
    wanted = adata.obsm["vgfm_velocity_genes"].mean(0, dtype=float) / adata.X.std(0, dtype=float)[:24]
    np.testing.assert_allclose(speed.loc[adata.var_names[:24]], wanted, rtol=1e-5)


def test_without_loadings_sensitivities_are_left_out(fitted, on_pca):
    adata = fitted.copy()
    tl.rank_genes(adata)
    assert list(get.genes(adata)) == ["names", "scores", "t", "pvals", "pvals_adj"]
    scaled = on_pca.copy()
    sc.pp.scale(scaled)
    with pytest.warns(UserWarning, match=r"no longer the matrix.*Sensitivities are left out"):
        tl.rank_genes(scaled)
    assert "sensitivity" not in get.genes(scaled)


def test_rankings_add_up_and_go_with_a_new_fit(on_pca, small):
    adata = on_pca.copy()
    for by in ("growth", "fate", "velocity", "growth"):
        tl.rank_genes(adata, by)
    assert list(adata.uns["vgfm"]["genes"]) == ["growth", "fate", "velocity"]
    tl.fit(adata, "time", **{**small, "use_rep": "X_pca", "match_steps": 2, "fit_steps": 0})
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.rank_genes"):
        get.genes(adata)


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored(on_pca, tmp_path, suffix):
    adata = on_pca.copy()
    for by in ("growth", "fate", "velocity"):
        tl.rank_genes(adata, by)
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    for by in ("growth", "fate", "velocity"):
        wanted = get.genes(adata, by)
        pd.testing.assert_frame_equal(get.genes(again, by).reset_index(drop=True), wanted, check_dtype=False)
        tl.rank_genes(again, by)
        pd.testing.assert_frame_equal(get.genes(again, by), wanted, check_dtype=False)
    assert len(get.genes(again, "fate", n_genes=4)) == 12


def test_bad_input_is_refused_and_changes_nothing(data, on_pca, fitted, unchanged):
    unfated = on_pca.copy()
    del unfated.obsm["vgfm_fate"]
    alike = on_pca.copy()
    alike.obs["vgfm_growth"] = np.float32(0.3)
    hollow = fitted.copy()
    hollow.X[3, 1] = np.nan
    empty = fitted.copy()
    del empty.X
    scaled = on_pca.copy()
    sc.pp.scale(scaled)
    for adata, arguments, error, message in (
        (data.copy(), {}, KeyError, r"vgfm_sc\.tl\.fit"),
        (on_pca.copy(), {"by": "mass"}, ValueError, "one of.*growth.*velocity.*fate"),
        (on_pca.copy(), {"layer": "counts"}, KeyError, "Layer 'counts' not found"),
        (on_pca.copy(), {"cells": [0, 1]}, ValueError, "at least 3"),
        (on_pca.copy(), {"cells": [0, 80, 200]}, ValueError, "over the 3 cells that have it, of 3 time points"),
        (on_pca.copy(), {"cells": np.ones(5, dtype=bool)}, ValueError, "boolean mask of"),
        (on_pca.copy(), {"cells": [0, 1, 10**6]}, ValueError, "boolean mask of"),
        (on_pca.copy(), {"cells": [0.5, 1.0, 2.0]}, ValueError, "boolean mask of"),
        (on_pca.copy(), {"by": "velocity", "layer": "log"}, ValueError, "by='velocity' does not accept layer"),
        (fitted.copy(), {"by": "velocity"}, KeyError, r"X_genes.*sc\.pp\.pca"),
        (scaled, {"by": "velocity"}, ValueError, "no longer the matrix"),
        (unfated, {"by": "fate"}, KeyError, r"vgfm_sc\.tl\.fate"),
        (alike, {}, ValueError, "does not vary"),
        (hollow, {}, ValueError, "NaN or infinity in 1 genes"),
        (empty, {}, ValueError, "adata.X is empty"),
    ):
        with unchanged(adata), pytest.raises(error, match=message):
            tl.rank_genes(adata, **arguments)


def test_a_table_is_read_as_a_copy_in_parts_or_whole(on_pca):
    adata = on_pca.copy()
    with pytest.raises(KeyError, match=r"by 'growth'.*vgfm_sc\.tl\.rank_genes\(adata, 'growth'\)"):
        get.genes(adata)
    tl.rank_genes(adata)
    tl.rank_genes(adata, "fate")
    whole = get.genes(adata)
    whole["scores"] = 0.0
    assert get.genes(adata)["scores"].any()
    pd.testing.assert_frame_equal(get.genes(adata, n_genes=3), get.genes(adata).head(3))
    heads = get.genes(adata, "fate", n_genes=3)
    assert len(heads) == 9 and heads.groupby("group", observed=True).size().eq(3).all()
    assert get.genes(adata, "fate", group="fate_a", n_genes=2)["group"].tolist() == ["fate_a"] * 2
    for by, group in (("fate", "fate_c"), ("growth", "fate_a")):
        with pytest.raises(ValueError, match=f"no group '{group}'"):
            get.genes(adata, by, group=group)


@pytest.mark.slow
def test_genes_of_growth_are_found_though_counts_are_off():
    """Three of five cells of one time point are lost, so that the level of growth is wrong before and after it."""
    adata = datasets.branching(n_genes=2000, n_dims=30, seed=1)
    lost = (adata.obs["time"].to_numpy() == 2) & (np.random.default_rng(1).random(adata.n_obs) < 0.6)
    adata = adata[~lost].copy()
    sc.pp.pca(adata)
    tl.fit(adata, "time", seed=1, fit_steps=0, score=False, progress=False)
    adata.obs["fitted"] = adata.obs["vgfm_growth"]
    tables = {}
    for name in ("true_growth", "fitted"):
        adata.obs["vgfm_growth"] = adata.obs[name]
        for within_time in (True, False):
            tl.rank_genes(adata, within_time=within_time)
            tables[name, within_time] = get.genes(adata)

    def precision(name, within_time):
        return adata.var["growth_gene"][tables[name, within_time]["names"][:20]].mean()

    scores = [in_order(tables[name, True], adata)["scores"] for name in ("true_growth", "fitted")]
    assert stats.spearmanr(*scores).statistic >= 0.99
    assert precision("fitted", True) >= 0.8
    assert precision("true_growth", True) >= 0.9  # no ranking by correlation can do much better
    assert precision("fitted", False) <= 0.5


@pytest.fixture(scope="module")
def ensemble(data, small) -> ad.AnnData:
    """Three models; copy before changing."""
    return tl.fit(data, "time", copy=True, n_models=3, **{**small, "use_rep": "X_pca", "match_steps": 20})


def alone(adata, member: int) -> pd.DataFrame:
    """The table of one model of an ensemble, in the order of ``var``."""
    adata = adata.copy()
    result = adata.uns["vgfm"]
    if member:
        result["weights"] = result["ensemble"][str(member)]
    del result["ensemble"]
    v, g = get.model(adata)(adata.obs["time"].to_numpy(), adata.obsm["X_pca"])
    adata.obsm["vgfm_velocity_pca"], adata.obs["vgfm_growth"] = v.astype(np.float32), g.astype(np.float32)
    tl.rank_genes(adata)
    return in_order(get.genes(adata), adata)


def test_an_ensemble_gives_the_spread_of_scores_and_intervals_of_sensitivities(ensemble):
    adata = ensemble.copy()
    tl.rank_genes(adata)
    table, single = in_order(get.genes(adata), adata), [alone(adata, k) for k in range(3)]
    np.testing.assert_allclose(table["scores"], single[0]["scores"], atol=1e-6)
    spread = np.std([one["scores"] for one in single], axis=0, ddof=1)
    np.testing.assert_allclose(table["scores_sd"], spread, atol=1e-5)
    values = np.stack([one["sensitivity"] for one in single])[:, :24]
    mean, variance = values.mean(axis=0), values.var(axis=0, ddof=1)
    reach = 2 * np.sqrt((variance + variance.mean()) / 2)
    for name, wanted in {"": mean, "_low": mean - reach, "_high": mean + reach}.items():
        np.testing.assert_allclose(table[f"sensitivity{name}"][:24], wanted, rtol=1e-4, atol=1e-6)
        assert table[f"sensitivity{name}"][24:].isna().all()
    sizes = np.mean([one["sensitivity_abs"] for one in single], axis=0)
    np.testing.assert_allclose(table["sensitivity_abs"], sizes, rtol=1e-4)
    assert table["stable"].dtype == bool
    one_sign = (table["sensitivity_low"] > 0) | (table["sensitivity_high"] < 0)
    pd.testing.assert_series_equal(table["stable"], one_sign, check_names=False)
    assert 0 < table["stable"].sum() < 24


def test_an_ensemble_is_asked_for_the_cells_that_are_asked(ensemble):
    cells = (ensemble.obs["time"] > 0).to_numpy()
    whole, part = ensemble.copy(), ensemble[cells].copy()
    tl.rank_genes(whole, cells=cells)
    tl.rank_genes(part)
    columns = ["scores", "scores_sd"]  # sensitivities are per standard deviation over all cells that are there
    whole, part = (in_order(get.genes(adata), adata)[columns] for adata in (whole, part))
    pd.testing.assert_frame_equal(part, whole, atol=1e-5, rtol=1e-3)


def test_an_ensemble_that_does_not_lead_back_to_genes_has_the_spread_of_scores(unfitted, small):
    adata = tl.fit(unfitted, "time", copy=True, n_models=2, score=False, **{**small, "match_steps": 3, "fit_steps": 0})
    tl.rank_genes(adata)
    assert list(get.genes(adata)) == ["names", "scores", "t", "pvals", "pvals_adj", "scores_sd"]


def test_an_ensemble_changes_no_other_ranking_and_is_stored(ensemble, tmp_path):
    adata = ensemble.copy()
    for by in ("growth", "velocity"):
        tl.rank_genes(adata, by)
    assert "scores_sd" not in get.genes(adata, "velocity")
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    wanted = get.genes(adata)
    tl.rank_genes(again)
    pd.testing.assert_frame_equal(get.genes(again), wanted, check_dtype=False)


def test_models_that_were_not_kept_give_no_intervals(ensemble):
    adata = ensemble.copy()
    del adata.uns["vgfm"]["ensemble"]  # as earlier versions stored ensembles
    tl.rank_genes(adata)
    assert "stable" not in get.genes(adata) and "scores_sd" not in get.genes(adata)


def test_growth_that_does_not_vary_is_refused_though_that_of_further_models_does(ensemble, unchanged):
    adata = ensemble.copy()
    adata.obs["vgfm_growth"] = np.float32(0.3)
    with unchanged(adata), pytest.raises(ValueError, match="does not vary"):
        tl.rank_genes(adata)


def test_an_interval_is_not_narrow_by_chance():
    rng = np.random.default_rng(0)
    found = ranking.interval(rng.normal(size=(3, 20_000)))
    assert found.stable.mean() < 0.02  # of genes without any effect
    alone = rng.normal(size=(3, 20_000))
    assert (np.abs(alone.mean(axis=0)) > 2 * alone.std(axis=0, ddof=1)).mean() > 0.05
    effects = ranking.interval(10 + rng.normal(size=(3, 1000)))
    assert effects.stable.all() and (effects.low < effects.mean).all() and (effects.mean < effects.high).all()


@pytest.mark.slow
def test_two_seeds_agree_on_the_genes_called_stable():
    adata = datasets.branching(n_genes=500, n_cells=200, seed=0)
    sc.pp.pca(adata, n_comps=30)
    tables = []
    for seed in (0, 1):
        tl.fit(adata, "time", seed=seed, n_models=5, match_steps=400, fit_steps=0, score=False, progress=False)
        tl.rank_genes(adata)
        tables.append(in_order(get.genes(adata), adata))
    first, second = tables
    stable = first["stable"]
    assert stable.sum() >= 5
    assert first["sensitivity"][stable].corr(second["sensitivity"][stable]) >= 0.8
    assert (np.sign(first["sensitivity"]) == np.sign(second["sensitivity"]))[stable].mean() >= 0.95
