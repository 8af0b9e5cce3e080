"""Growth expected of the cells by scores of genes."""

from __future__ import annotations

import logging

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vgfm_sc import _anndata, get, tl
from vgfm_sc.core.transport import prior
from vgfm_sc.tl import _cell_cycle

sc = pytest.importorskip("scanpy")

CYCLE = [*_cell_cycle.S, *_cell_cycle.G2M]


def made(genes=CYCLE, n=60, others=300, seed=0) -> ad.AnnData:
    """Cells at the times 0, 1, 2, a share of which cycles; more of them the later."""
    rng = np.random.default_rng(seed)
    time = np.repeat([0.0, 1, 2], n)
    cycling = rng.random(3 * n) < 0.2 + 0.2 * time
    names = [*genes, *(f"other{k}" for k in range(others))]
    x = rng.gamma(2, 0.4, (3 * n, len(names)))
    x[:, : len(genes)] += cycling[:, None] * 0.9
    obs = pd.DataFrame({"day": time, "cycling": cycling}, index=[f"cell{k}" for k in range(3 * n)])
    return ad.AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=names))


@pytest.fixture(scope="module")
def data() -> ad.AnnData:
    """Copy before changing."""
    return made()


def wot(score) -> np.ndarray:
    """Birth rate of a score by the numbers of wot, less the least one."""
    return 1.4 / (1 + np.exp(-8 * (np.asarray(score, dtype=float) - 0.25)))


def test_genes_of_the_cell_cycle_are_scored_as_scanpy_does_and_turned_into_rates(data, unchanged, same_random_state):
    adata = data.copy()
    assert tl.growth_prior(adata) is None
    score = adata.obs["growth_prior_proliferation"]
    state = np.random.get_state()
    wanted = sc.tl.score_genes(data, CYCLE, copy=True, random_state=0).obs["score"]
    np.random.set_state(state)
    np.testing.assert_allclose(score, wanted, rtol=1e-5)
    rate = adata.obs["growth_prior"]
    assert rate.dtype == score.dtype == np.float32
    np.testing.assert_allclose(rate, wot(wanted), rtol=1e-4)
    assert rate[adata.obs["cycling"]].median() > 1.2 and rate[~adata.obs["cycling"]].median() < 0.2
    about = adata.uns["growth_prior"]
    assert about["scale"] == 1 and set(about["genes"]["proliferation"]) == set(CYCLE) and "totals" not in about
    for name in ("growth_prior", "growth_prior_proliferation"):
        del adata.obs[name]
    del adata.uns["growth_prior"]
    with unchanged(data):
        pd.testing.assert_frame_equal(adata.obs, data.obs)


def test_the_sets_are_those_of_the_publication():
    assert (len(set(_cell_cycle.S)), len(set(_cell_cycle.G2M)), len(set(CYCLE))) == (43, 54, 97)
    assert set(_cell_cycle.EARLIER) <= set(CYCLE) and not set(_cell_cycle.EARLIER.values()) & set(CYCLE)


def test_a_day_is_as_long_as_told(data):
    adata = data.copy()
    tl.growth_prior(adata)
    tl.growth_prior(adata, day=24, key_added="hourly")
    np.testing.assert_allclose(24 * adata.obs["hourly"], adata.obs["growth_prior"], rtol=1e-5)


@pytest.mark.parametrize("spell", [str.capitalize, str.lower, lambda s: _cell_cycle.EARLIER.get(s, s).capitalize()])
def test_symbols_are_found_in_other_spellings_and_by_earlier_names(data, spell):
    adata = data.copy()
    adata.var_names = [spell(name) if name in CYCLE else name for name in data.var_names]
    tl.growth_prior(adata)
    assert len(adata.uns["growth_prior"]["genes"]["proliferation"]) == 97
    theirs = data.copy()
    theirs.var_names = adata.var_names
    tl.growth_prior(theirs, proliferation=list(adata.uns["growth_prior"]["genes"]["proliferation"]))
    np.testing.assert_array_equal(theirs.obs["growth_prior"], adata.obs["growth_prior"])


def test_a_name_spelt_as_asked_for_comes_first():
    adata = ad.AnnData(np.ones((2, 4)), var=pd.DataFrame(index=["Mcm5", "MCM5", "Hn1", "PCNA"]))
    found = _anndata.read_symbols(adata, ["MCM5", "JPT1", "mcm5", "UNG"], _cell_cycle.EARLIER, "genes", None)
    assert found == (["MCM5", "Hn1", "Mcm5"], ["UNG"])


def test_what_was_not_found_is_told(data, caplog):
    adata = data[:, data.var_names != "PCNA"].copy()
    with caplog.at_level(logging.WARNING):
        tl.growth_prior(adata)
        tl.growth_prior(adata, proliferation=["MKI67", "TOP2A", "nothing"])
    told = [record.getMessage() for record in caplog.records if record.name.startswith("vgfm_sc")]
    assert told[0].startswith("1 of 97 genes of proliferation") and told[0].endswith("ignored: PCNA")
    assert told[1].startswith("1 of 3 genes of proliferation") and told[1].endswith("ignored: nothing")


def test_deaths_count_against_births(data):
    adata, dying = data.copy(), np.arange(data.n_obs) % 3 == 0
    adata.X[:, adata.var_names.isin(["other0", "other1"])] += 2 * dying[:, None]
    tl.growth_prior(adata, apoptosis=["other0", "other1"])
    birth, death = adata.obs["growth_prior_proliferation"], adata.obs["growth_prior_apoptosis"].to_numpy(dtype=float)
    wanted = wot(birth) - 1.4 / (1 + np.exp(-20 * (death - 0.1)))
    np.testing.assert_allclose(adata.obs["growth_prior"], wanted, atol=1e-5)
    tl.growth_prior(adata)  # without, and nothing stays behind
    assert list(adata.obs) == ["day", "cycling", "growth_prior", "growth_prior_proliferation"]


def test_a_column_of_scores_takes_the_place_of_genes(data):
    adata = data.copy()
    tl.growth_prior(adata, key_added="scored")
    tl.growth_prior(adata, proliferation="scored_proliferation")
    np.testing.assert_allclose(adata.obs["growth_prior"], adata.obs["scored"], rtol=1e-6)
    assert "growth_prior_proliferation" not in adata.obs
    alone = ad.AnnData(obs=adata.obs[["scored_proliferation"]])
    tl.growth_prior(alone, proliferation="scored_proliferation")
    np.testing.assert_array_equal(alone.obs["growth_prior"], adata.obs["growth_prior"])


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.6])
def test_the_scale_is_learnt_from_totals(data, factor):
    adata = data.copy()
    tl.growth_prior(adata)
    rate = factor * adata.obs["growth_prior"].to_numpy(dtype=float)
    time = 3 * adata.obs["day"].to_numpy()
    ratios = [np.exp(3 * rate[time == t]).mean() for t in (0, 3)]
    adata.obs["time"], totals = time, np.cumprod([10, *ratios])
    tl.growth_prior(adata, "time", mass=dict(zip([0, 3, 6], totals, strict=True)), key_added="learnt")
    np.testing.assert_allclose(adata.obs["learnt"], rate, rtol=1e-3)
    assert adata.uns["learnt"]["scale"] == pytest.approx(factor, rel=1e-3)
    table = adata.uns["learnt"]["totals"]
    np.testing.assert_allclose(table["expected"], table["known"], rtol=1e-3)
    np.testing.assert_allclose(table["known"], ratios, rtol=1e-6)
    tl.growth_prior(adata, "time", mass=dict(zip([0, 3, 6], totals, strict=True)), day=24, key_added="hourly")
    np.testing.assert_allclose(adata.obs["hourly"], rate, rtol=1e-3)  # a day is no longer of account


def test_the_scale_has_no_smaller_misfit_beside_it():
    rng = np.random.default_rng(0)
    rates, dt, known = [rng.normal(0.2, 0.5, 40) for _ in range(3)], np.array([0.5, 1, 3]), np.array([0.3, 0.1, 1.4])
    scale = prior.learnt_scale(rates, dt, known)

    def misfit(value):
        return ((prior.expected_log_ratios([value * rate for rate in rates], dt) - known) ** 2).sum()

    assert misfit(scale.value) <= min(misfit(value) for value in np.linspace(0, 20, 1001)) + 1e-9
    wanted = [np.log(np.exp(scale.value * rate * h).mean()) for rate, h in zip(rates, dt, strict=True)]
    np.testing.assert_allclose(scale.expected, wanted)
    assert prior.learnt_scale([np.zeros(3)], np.ones(1), np.ones(1)).value == 0


@pytest.mark.parametrize(
    ("mass", "words"),
    [
        ({0: 8, 1: 4, 2: 2}, r"from 0 to 1 0\.5 \(1\); from 1 to 2 0\.5 \(1\)\. No factor above 0"),
        ("equal", "No factor above 0"),
        ({0: 1, 1: 8, 2: 10}, r"contradicts the totals.*from 0 to 1 8 \(.*met worse than if all cells grew alike"),
    ],
)
def test_totals_that_contradict_the_prior_are_warned_of_with_numbers(mass, words):
    adata = made()
    adata.obs["late"] = np.where(adata.obs["day"] == 0, 0.1, 0.9) + np.linspace(0, 0.01, adata.n_obs)
    with pytest.warns(UserWarning, match=words) as caught:
        tl.growth_prior(adata, "day", proliferation="late", mass=mass)
    assert caught[0].filename == __file__
    if adata.uns["growth_prior"]["scale"] == 0:
        assert not adata.obs["growth_prior"].any()


def of_backed(adata, path):
    adata.write_h5ad(path)
    return ad.read_h5ad(path, backed="r")


@pytest.mark.parametrize("convert", ["csr", "csc", "dask", "layer", "backed", "backed sparse", "raw"])
def test_every_kind_of_matrix_gives_the_same(data, tmp_path, convert):
    wanted, adata = data.copy(), data.copy()
    tl.growth_prior(wanted)
    layer = None
    if convert in ("csr", "csc"):
        adata.X = getattr(sparse, f"{convert}_matrix")(adata.X)
    elif convert == "dask":
        adata.X = da.from_array(adata.X, chunks=(50, 100))
    elif convert == "layer":
        layer, adata.layers["log"] = "log", adata.X.copy()
        adata.X[:] = 0
    elif convert == "raw":
        adata.raw = data[:, ::-1].copy()
        adata.raw.X[:] = 0
    else:
        adata.X = sparse.csr_matrix(adata.X) if "sparse" in convert else adata.X
        adata = of_backed(adata, tmp_path / "a.h5ad")
    tl.growth_prior(adata, layer=layer)
    np.testing.assert_allclose(adata.obs["growth_prior"], wanted.obs["growth_prior"], rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored_and_written_over(data, tmp_path, suffix):
    adata, path = data.copy(), tmp_path / f"a.{suffix}"
    tl.growth_prior(adata, "day", mass={0: 1, 1: 2, 2: 4})
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    assert again.uns["growth_prior"]["scale"] == adata.uns["growth_prior"]["scale"]
    tl.growth_prior(again, apoptosis=["other0", "other1"])
    tl.growth_prior(again, "day", mass={0: 1, 1: 2, 2: 4})
    pd.testing.assert_frame_equal(again.obs[list(adata.obs)], adata.obs, check_dtype=False)


def test_a_seed_chooses_the_genes_to_compare_with(data, same_random_state):
    found = []
    for seed in (0, 0, 2**40 + 1):
        adata = data.copy()
        tl.growth_prior(adata, proliferation=CYCLE[:5], seed=seed)
        found.append(adata.obs["growth_prior"].to_numpy())
    np.testing.assert_array_equal(found[0], found[1])


def test_a_fit_takes_it_and_is_not_taken_for_it(small):
    adata = made(n=10)
    adata.obsm["X_genes"] = np.asarray(adata.X[:, :3], dtype=float)
    tl.growth_prior(adata)
    tl.fit(adata, "day", growth_prior="growth_prior", **{**small, "match_steps": 3, "fit_steps": 0})
    assert adata.uns["vgfm"]["params"]["growth_prior"] == "growth_prior"
    with pytest.raises(KeyError, match=r"Fits present: key=\['vgfm'\]"):
        get.model(adata, "growth_prior")
    with pytest.raises(ValueError, match=r"uns\['growth_prior'\], not written by a fit"):
        tl.fit(adata, "day", key_added="growth_prior", **small)


def test_a_view_becomes_an_object_of_its_own(data):
    view = data[data.obs["day"] > 0]
    with pytest.warns(UserWarning, match="adata is a view") as caught:
        tl.growth_prior(view)
    assert caught[0].filename == __file__ and "growth_prior" in view.obs and "growth_prior" not in data.obs


def test_counts_are_warned_of(data):
    adata = data.copy()
    adata.X = np.round(3 * adata.X)
    with pytest.warns(UserWarning, match="adata.X holds whole numbers.*log1p") as caught:
        tl.growth_prior(adata)
    assert caught[0].filename == __file__


def changed(adata, change) -> ad.AnnData:
    adata = adata.copy()
    change(adata)
    return adata


BAD = {
    "no gene": ({"proliferation": ["a", "b"]}, KeyError, r"None of the 2 genes.*\['a', 'b'\]; there: \['MCM5'"),
    "no gene of death": ({"apoptosis": ["a"]}, KeyError, "None of the 1 genes of apoptosis"),
    "empty": ({"proliferation": []}, ValueError, "proliferation names no genes"),
    "no names": ({"proliferation": [3]}, TypeError, "A gene of proliferation must be a name, got 3"),
    "no column": ({"proliferation": "score"}, KeyError, r"proliferation='score' not found in adata\.obs"),
    "no numbers": ({"apoptosis": "cycling"}, TypeError, "numbers are needed"),
    "alike": ({"proliferation": "alike"}, ValueError, "score of proliferation is the same in all cells"),
    "not varying": ({"proliferation": ["other2"]}, ValueError, "None of the 1 genes of proliferation varies"),
    "NaN": ({"proliferation": ["other3", "MCM5"]}, ValueError, "NaN or infinity in 1 of the 2 genes"),
    "layer": ({"layer": "log"}, KeyError, "Layer 'log' not found"),
    "mass alone": ({"mass": {0: 1}}, ValueError, "mass needs time_key"),
    "time alone": ({"time_key": "day"}, ValueError, "time_key='day' needs mass"),
    "time": ({"time_key": "hour", "mass": "equal"}, KeyError, "Time key 'hour' not found"),
    "totals": ({"time_key": "day", "mass": {0: 1}}, ValueError, "mass needs one total for each"),
    "day": ({"day": 0}, ValueError, "day must be positive"),
    "seed": ({"seed": -1}, ValueError, "seed must lie"),
    "key": ({"key_added": "a/b"}, ValueError, "contains '/'"),
    "taken": ({"key_added": "mine"}, ValueError, r"obs\['mine'\], not written by `vgfm_sc\.tl\.growth_prior`"),
    "taken by a score": ({"key_added": "my"}, ValueError, r"already holds obs\['my_proliferation'\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(data, unchanged, case, same_random_state):
    adata = data.copy()
    adata.obs["alike"], adata.obs["mine"], adata.obs["my_proliferation"] = 1.5, 0.0, 0.0
    adata.X[:, adata.var_names == "other2"], adata.X[4, adata.var_names == "other3"] = 1.5, np.nan
    arguments, error, message = BAD[case]
    with unchanged(adata), pytest.raises(error, match=message):
        tl.growth_prior(adata, **arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda adata: setattr(adata, "var_names", ["a"] * adata.n_vars), ValueError, "not unique"),
        (lambda adata: delattr(adata, "X"), ValueError, "adata.X is empty"),
        (lambda adata: adata._inplace_subset_var(np.arange(97)), ValueError, "cannot compare the 97 genes"),
        (lambda adata: adata._inplace_subset_var(np.arange(5)), ValueError, "Keep more genes in adata"),
    ],
)
@pytest.mark.filterwarnings("ignore:Variable names are not unique", "ignore:Mean of empty slice")
def test_objects_without_the_genes_needed_are_refused(data, unchanged, change, error, message, same_random_state):
    adata = changed(data, change)
    with unchanged(adata), pytest.raises(error, match=message):
        tl.growth_prior(adata)
