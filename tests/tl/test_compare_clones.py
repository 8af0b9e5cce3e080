from __future__ import annotations

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from vgfm_sc import datasets, get, tl

COLUMNS = ["of", "time", "to", "cluster", "score", "value", "shuffled", "shuffled_sd", "n_cells", "n_clones"]


@pytest.fixture(scope="module")
def barcoded(small) -> ad.AnnData:
    """A branching process with clones after a short fit; copy before changing."""
    adata = datasets.branching(n_cells=60, n_dims=2, times=(0.0, 1.0, 3.0), n_clones=12, seed=0)
    tl.fit(adata, "time", **{**small, "use_rep": "X_state"})
    tl.fate(adata, "true_fate")
    return adata


@pytest.fixture(scope="module")
def table(barcoded) -> pd.DataFrame:
    return tl.compare_clones(barcoded.copy(), "true_clone")


def score(table: pd.DataFrame, of: str, name: str, **where) -> pd.DataFrame:
    kept = (table["of"] == of) & (table["score"] == name)
    for column, value in where.items():
        kept &= table[column].isna() if value is None else table[column] == value
    return table[kept]


def at(adata, time) -> np.ndarray:
    return np.flatnonzero(adata.obs["time"] == time)


def test_the_table_is_returned_and_kept_and_nothing_else_is_written(barcoded):
    adata, before = barcoded.copy(), barcoded.copy()
    table = tl.compare_clones(adata, "true_clone")
    assert list(table) == COLUMNS
    kept = adata.uns["vgfm"].pop("clones")
    assert set(kept) == {"clone_key", "table", "growth", "fates", "calibration"}
    assert kept["clone_key"] == "true_clone"
    pd.testing.assert_frame_equal(kept["table"], table)
    assert set(adata.uns["vgfm"]) == set(before.uns["vgfm"])
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert list(adata.obsm) == list(before.obsm) and list(adata.uns) == list(before.uns)


def test_every_interval_and_every_cluster_at_every_time_has_its_rows(table):
    for of, names in (("descendants", ["share", "auroc"]), ("growth", ["pearson", "spearman"])):
        part = table[table["of"] == of]
        assert part["time"].tolist() == [0, 0, 1, 1] and part["to"].tolist() == [1, 1, 3, 3]
        assert part["score"].tolist() == 2 * names and (part["cluster"] == "").all()
    fates = table[table["of"] == "fates"]
    assert (fates.groupby(["time", "cluster"], dropna=False).size() == 5).all() and len(fates) == 30
    assert fates["time"].drop_duplicates().fillna(-1).tolist() == [0, 1, -1]
    assert (fates["to"] == 3).all() and set(fates["cluster"]) == {"fate_a", "fate_b"}


def test_a_fit_agrees_with_clones_better_than_with_shuffled_ones(table):
    for of, name in (("descendants", "share"), ("descendants", "auroc"), ("fates", "pearson"), ("fates", "auroc")):
        found = score(table, of, name)
        assert (found["value"] > found["shuffled"] + 3 * found["shuffled_sd"]).all(), (of, name)
    for of, name, chance in (("descendants", "auroc", 0.5), ("fates", "auroc", 0.5), ("fates", "pearson", 0.0)):
        assert (np.abs(score(table, of, name)["shuffled"] - chance) < 0.2).all(), (of, name)
    assert (score(table, "fates", "ece")["value"] < score(table, "fates", "ece")["shuffled"]).all()


def test_descendants_are_scored_by_the_coupling(barcoded, table):
    plan, codes = get.couplings(barcoded)[0.0, 1.0].toarray(), barcoded.obs["true_clone"].to_numpy()
    here, there = codes[at(barcoded, 0)], codes[at(barcoded, 1)]
    rows, columns = np.isin(here, there), np.isin(there, here)
    kept = plan[rows][:, columns]
    same = np.equal.outer(here[rows], there[columns])
    (found,) = score(table, "descendants", "share", time=0).to_dict("records")
    assert found["value"] == pytest.approx(kept[same].sum() / kept.sum(), rel=1e-5)
    assert (found["n_cells"], found["n_clones"]) == (rows.sum(), len(np.intersect1d(here, there)))


def test_growth_is_that_of_clone_sizes_as_shares_of_the_barcoded_cells(barcoded):
    adata = barcoded.copy()
    clone = adata.obs["true_clone"].astype(object)
    clone[np.isin(np.arange(adata.n_obs), at(adata, 1)[::2])] = None  # half of the cells of one time lose their barcode
    adata.obs["clone"] = clone
    table = tl.compare_clones(adata, "clone")
    growth = adata.uns["vgfm"]["clones"]["growth"]
    row = growth[(growth["time"] == 0) & (growth["n_cells"] >= 3)].iloc[0]
    of_clone = (adata.obs["clone"] == row["clone"]).to_numpy()
    n = [of_clone[at(adata, t)].sum() for t in (0, 1)]
    barcoded_share = [adata.obs["clone"].notna().to_numpy()[at(adata, t)].mean() for t in (0, 1)]
    assert [row["n_cells"], row["n_cells_later"]] == n
    assert row["observed"] == pytest.approx(np.log(n[1] / barcoded_share[1]) - np.log(n[0] / barcoded_share[0]))
    mass = adata.obs["vgfm_mass"].to_numpy()[of_clone & (adata.obs["time"] == 0)]
    assert row["predicted"] == pytest.approx(np.log(mass.mean()), rel=1e-5)
    of_first = growth[growth["time"] == 0]
    found = score(table, "growth", "pearson", time=0)["value"].item()
    assert found == pytest.approx(np.corrcoef(of_first["predicted"], of_first["observed"])[0, 1])


def test_totals_of_the_time_points_count(small):
    adata = datasets.branching(n_cells=60, n_dims=2, times=(0.0, 1.0), n_clones=6, seed=0)
    plain = adata.copy()
    settings = {**small, "use_rep": "X_state", "match_steps": 1, "fit_steps": 0}
    tl.fit(plain, "time", **settings)
    tl.fit(adata, "time", mass={0: 1, 1: 10}, **settings)
    for data in (plain, adata):
        tl.compare_clones(data, "true_clone")
    more = adata.uns["vgfm"]["clones"]["growth"]["observed"] - plain.uns["vgfm"]["clones"]["growth"]["observed"]
    n = [len(at(adata, t)) for t in (0, 1)]
    np.testing.assert_allclose(more, np.log(10) - np.log(n[1] / n[0]))


def test_fates_are_compared_with_the_last_cells_of_the_clone(barcoded, table):
    p = barcoded.obsm["vgfm_fate"]["fate_a"].to_numpy(dtype=float)
    clone, last = barcoded.obs["true_clone"], barcoded.obs["time"] == 3
    share = (barcoded.obs["true_fate"] == "fate_a")[last].groupby(clone[last], observed=True).mean()
    wanted = clone.astype(object).map(share).to_numpy(dtype=float)
    early = (barcoded.obs["time"] < 3).to_numpy() & np.isfinite(wanted)
    (found,) = score(table, "fates", "pearson", time=None, cluster="fate_a").to_dict("records")
    assert found["value"] == pytest.approx(np.corrcoef(p[early], wanted[early])[0, 1])
    assert found["n_cells"] == early.sum()
    assert score(table, "fates", "observed", time=None, cluster="fate_a")["value"].item() == wanted[early].mean()


def test_tables_for_the_plot_agree_with_the_scores(barcoded):
    adata = barcoded.copy()
    table = tl.compare_clones(adata, "true_clone")
    kept = adata.uns["vgfm"]["clones"]
    bins = kept["calibration"]
    for cluster, part in bins.groupby("cluster"):
        error = (part["n_cells"] * (part["predicted"] - part["observed"]).abs()).sum() / part["n_cells"].sum()
        assert error == pytest.approx(score(table, "fates", "ece", time=None, cluster=cluster)["value"].item())
        assert ((part["predicted"] * 10).astype(int).clip(upper=9) == part["tenth"]).all()
    assert (kept["fates"].groupby("clone")[["predicted", "observed"]].sum().round(5) == 1).all(axis=None)
    assert (kept["fates"]["n_cells"] > 0).all() and (kept["growth"]["n_cells_later"] > 0).all()


def test_same_seed_same_table_and_global_state_stays(barcoded, table, same_random_state):
    pd.testing.assert_frame_equal(tl.compare_clones(barcoded.copy(), "true_clone"), table)
    other = tl.compare_clones(barcoded.copy(), "true_clone", seed=1, n_shuffles=3)
    np.testing.assert_array_equal(other["value"], table["value"])
    assert not other["shuffled"].equals(table["shuffled"])


@pytest.mark.parametrize("convert", ["text", "Int64", "categories"])
def test_the_type_of_the_barcodes_does_not_matter(barcoded, table, convert):
    adata = barcoded.copy()
    codes = adata.obs["true_clone"].cat.codes
    other = {
        "text": codes.map("barcode {:03}".format),
        "Int64": codes.astype("Int64"),
        "categories": codes.astype("category"),
    }
    adata.obs["clone"] = other[convert]
    found = tl.compare_clones(adata, "clone")
    pd.testing.assert_frame_equal(found, table)


def test_cells_without_barcode_and_clones_at_one_time_are_counted_and_told(barcoded, caplog):
    adata = barcoded.copy()
    clone = adata.obs["true_clone"].astype(object)
    lone, gone = at(adata, 0)[:4], at(adata, 1)[:7]
    clone.iloc[lone[:3]], clone.iloc[lone[3]], clone.iloc[gone] = "x", "y", None
    adata.obs["clone"] = clone
    with caplog.at_level(logging.INFO, "vgfm_sc"):
        table = tl.compare_clones(adata, "clone")
    without, one_time = score(table, "barcodes", "without"), score(table, "barcodes", "one_time")
    assert without["time"].fillna(-1).tolist() == [0, 1, 3, -1] and without["value"].tolist() == [0, 7, 0, 7]
    assert one_time["n_clones"].iloc[-1] >= 2 and one_time["value"].iloc[0] >= 4
    assert one_time["value"].iloc[-1] == one_time["value"].iloc[:-1].sum()
    assert without["n_cells"].iloc[-1] == adata.n_obs
    assert f"7 of {adata.n_obs} cells without a barcode" in caplog.text
    n_cells, n_clones = one_time[["value", "n_clones"]].iloc[-1].astype(int)
    assert f"{n_cells} cells of {n_clones} clones at one time point only" in caplog.text


def test_without_fates_the_log_says_what_to_run(barcoded, caplog):
    adata = barcoded.copy()
    del adata.obsm["vgfm_fate"]
    with caplog.at_level(logging.INFO, "vgfm_sc"):
        table = tl.compare_clones(adata, "true_clone")
    assert set(table["of"]) == {"barcodes", "descendants", "growth"}
    assert "vgfm_sc.tl.fate(adata, cluster_key=...)" in caplog.text
    assert not {"fates", "calibration"} & set(adata.uns["vgfm"]["clones"])


def test_what_is_written_can_be_stored(barcoded, tmp_path):
    adata = barcoded.copy()
    tl.compare_clones(adata, "true_clone")
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad").uns["vgfm"]["clones"]
    assert again["clone_key"] == "true_clone" and set(again) == set(adata.uns["vgfm"]["clones"])
    for name in ("table", "growth", "fates", "calibration"):
        pd.testing.assert_frame_equal(again[name], adata.uns["vgfm"]["clones"][name])


def test_bad_input_is_refused_and_changes_nothing(barcoded, unfitted, unchanged):
    other = barcoded.copy()
    time = other.obs["time"].astype(str)
    other.obs["floats"] = np.arange(other.n_obs) / 3
    other.obs["one"] = "a"
    other.obs["own"] = other.obs_names
    other.obs["apart"] = time + other.obs["true_clone"].astype(str)
    no_plan, no_mass = barcoded.copy(), barcoded.copy()
    del no_plan.obsp["vgfm_coupling"], no_mass.obs["vgfm_mass"]
    for adata, key, arguments, error, message in (
        (unfitted.copy(), "branch", {}, KeyError, r"vgfm_sc\.tl\.fit"),
        (other, "nope", {}, KeyError, "'nope' not found.*true_clone"),
        (other, "floats", {}, TypeError, "floating-point numbers.*Int64"),
        (other, "one", {}, ValueError, f"one value in all {other.n_obs} cells"),
        (other, "own", {}, ValueError, f"{other.n_obs} values in {other.n_obs} cells"),
        (other, "apart", {}, ValueError, "none has cells at two time points"),
        (other, "true_clone", {"n_shuffles": 0}, ValueError, "n_shuffles must be positive"),
        (other, "true_clone", {"seed": -1}, ValueError, "seed must"),
        (no_plan, "true_clone", {}, KeyError, "vgfm_coupling.*missing"),
        (no_mass, "true_clone", {}, KeyError, "vgfm_mass.*missing"),
    ):
        with unchanged(adata), pytest.raises(error, match=message):
            tl.compare_clones(adata, key, **arguments)


def test_a_view_is_scored_and_not_written_to(barcoded, table):
    view = barcoded[:]
    pd.testing.assert_frame_equal(tl.compare_clones(view, "true_clone"), table)
    assert view.is_view and "clones" not in barcoded.uns["vgfm"]


def test_a_new_fit_drops_the_scores_of_the_old(barcoded, small):
    adata = barcoded.copy()
    tl.compare_clones(adata, "true_clone")
    tl.fit(adata, "time", **{**small, "use_rep": "X_state", "match_steps": 1, "fit_steps": 0})
    assert "clones" not in adata.uns["vgfm"]


def test_an_interval_without_clones_is_warned_of(barcoded):
    adata = barcoded.copy()
    adata.obs["clone"] = adata.obs["true_clone"].where(adata.obs["time"] != 1)
    with pytest.warns(UserWarning, match="No clone has cells at both [01] and [13]: nothing") as raised:
        table = tl.compare_clones(adata, "clone")
    assert len(raised) == 2 and raised[0].filename == __file__
    assert set(table["of"]) == {"barcodes", "fates"}
    assert "growth" not in adata.uns["vgfm"]["clones"]


def test_fates_of_clones_that_are_not_seen_at_the_end_are_warned_of(barcoded):
    adata = barcoded[barcoded.obs["time"] < 3].copy()
    with pytest.warns(UserWarning, match="fates are not compared"):
        table = tl.compare_clones(adata, "true_clone")
    assert set(table["of"]) == {"barcodes", "descendants", "growth"}
    assert score(table, "descendants", "share")["time"].tolist() == [0]


def test_clusters_that_the_fates_do_not_know_are_left_out(barcoded, table):
    adata = barcoded.copy()
    fate = adata.obs["true_fate"].astype(object)
    fate.iloc[at(adata, 3)[:5]], fate.iloc[at(adata, 3)[5:9]] = "new", None
    adata.obs["true_fate"] = pd.Categorical(fate)
    found = tl.compare_clones(adata, "true_clone")
    assert adata.uns["vgfm"]["clones"]["fates"].groupby("clone")["n_cells_last"].first().sum() <= len(at(adata, 3)) - 9
    assert found["score"].tolist() == table["score"].tolist()


def test_cells_that_were_held_out_are_left_out(small):
    adata = datasets.branching(n_cells=60, n_dims=2, times=(0.0, 1.0), n_clones=6, seed=0)
    tl.fit(adata, "time", validation=0.3, **{**small, "use_rep": "X_state"})
    table = tl.compare_clones(adata, "true_clone")
    coupled = np.isfinite(adata.obs["vgfm_mass"].to_numpy()[at(adata, 0)]).sum()
    assert coupled < 60
    assert (table.loc[table["of"].isin(["descendants", "growth"]), "n_cells"] <= coupled).all()
    assert np.isfinite(table.loc[table["of"] == "growth", "value"]).all()


def test_a_coupling_within_clones_is_perfect(barcoded):
    adata = barcoded.copy()
    same = np.equal.outer(*[adata.obs["true_clone"].cat.codes.to_numpy()] * 2)
    later = np.subtract.outer(*[adata.obs["time"].to_numpy()] * 2) < 0
    adata.obsp["vgfm_coupling"] = csr_matrix((same & later).astype(np.float32))
    table = tl.compare_clones(adata, "true_clone")
    assert (score(table, "descendants", "share")["value"] == 1).all()
    assert (score(table, "descendants", "auroc")["value"] == 1).all()
    assert (np.abs(score(table, "descendants", "auroc")["shuffled"] - 0.5) < 0.05).all()


@pytest.mark.slow
def test_a_fit_finds_descendants_fates_and_growth_of_clones():
    adata = datasets.branching(n_clones=100)
    tl.fit(adata, "time", use_rep="X_state", match_steps=1500, fit_steps=0, score=False, progress=False)
    tl.fate(adata, "cell_type")
    table = tl.compare_clones(adata, "true_clone")
    assert (score(table, "descendants", "auroc")["value"] > [0.54, 0.6, 0.75]).all()
    whole = {"time": None, "cluster": "fate_a"}
    assert score(table, "fates", "auroc", **whole)["value"].item() > 0.95
    assert score(table, "fates", "pearson", **whole)["value"].item() > 0.85
    assert score(table, "fates", "ece", **whole)["value"].item() < 0.08
    assert score(table, "growth", "pearson", time=2)["value"].item() > 0.35


def test_a_fit_that_was_told_of_the_barcodes_is_no_judge_of_itself(barcoded, small, table):
    told = tl.fit(barcoded, "time", clone_key="true_clone", copy=True, **{**small, "use_rep": "X_state"})
    with pytest.warns(UserWarning, match=r"told of the barcodes of obs\['true_clone'\].*without clone_key"):
        own = tl.compare_clones(told, "true_clone")
    shares = [score(part, "descendants", "share")["value"].to_numpy() for part in (own, table)]
    assert (shares[0] > 1.5 * shares[1]).all()
