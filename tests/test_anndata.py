"""Reading and writing AnnData; none of this needs torch."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vgfm_sc import _anndata


def cells(time, x=None) -> ad.AnnData:
    """An AnnData with ``obs["t"]`` and ``obsm["X_r"]``."""
    index = [f"cell{k}" for k in range(len(time))]
    values = time.set_axis(index) if isinstance(time, pd.Series) else time
    adata = ad.AnnData(obs=pd.DataFrame({"t": values}, index=index))
    adata.obsm["X_r"] = np.random.default_rng(0).normal(size=(len(index), 3)) if x is None else x
    return adata


# times


@pytest.mark.parametrize(
    "time",
    [
        [0, 2, 10, 2],
        [0.0, 2.0, 10.0, 2.0],
        np.array([0, 2, 10, 2], dtype=np.uint8),
        np.array([0, 2, 10, 2], dtype=np.float16),
        ["0", "2", "10", "2"],
        ["0.0", "2.0", "1e1", " 2"],
        pd.Categorical(["0", "2", "10", "2"]),
        pd.Categorical(["0", "2", "10", "2"], categories=["10", "2", "0", "unused"]),
        pd.Categorical([0, 2, 10, 2]),
        pd.Categorical([0.0, 2.0, 10.0, 2.0], categories=[10.0, 2.0, 0.0], ordered=True),
        pd.array([0, 2, 10, 2], dtype="Int64"),
        pd.array([0, 2, 10, 2], dtype="Float64"),
        pd.array(["0", "2", "10", "2"], dtype="string"),
        pd.Series([0, 2.0, "10", 2], dtype=object),
    ],
    ids=lambda time: f"{type(time).__name__}-{getattr(time, 'dtype', type(time[0]).__name__)}",
)
def test_times_become_numbers_in_numeric_order(time):
    adata = cells(time)
    before = adata.obs["t"].copy()
    found = _anndata.read_time(adata, "t")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [0, 2, 10, 2])
    pd.testing.assert_series_equal(adata.obs["t"], before)


def test_string_times_are_grouped_in_numeric_order():
    snapshots = _anndata.read_snapshots(cells(["10", "2", "0", "2", "0", "10"]), "t", _anndata.Representation("X_r"))
    np.testing.assert_array_equal(snapshots.time_points, [0, 2, 10])
    assert [rows.tolist() for rows in snapshots.rows] == [[2, 4], [1, 3], [0, 5]]


@pytest.mark.parametrize("labels", [["E8.5", "E9", "E8.5"], pd.Categorical(["E8.5", "E9", "E8.5"])])
def test_time_map_translates_labels(labels):
    adata = cells(labels)
    before = adata.obs["t"].copy()
    np.testing.assert_array_equal(_anndata.read_time(adata, "t", {"E8.5": 8.5, "E9": 9}), [8.5, 9, 8.5])
    pd.testing.assert_series_equal(adata.obs["t"], before)


def test_time_map_translates_numbers():
    np.testing.assert_array_equal(_anndata.read_time(cells([1, 2, 1]), "t", {1: 24, 2: 48}), [24, 48, 24])


@pytest.mark.parametrize(
    ("time", "error", "message"),
    [
        (["E8.5", "E9"], ValueError, "time_map"),
        (pd.Categorical(["day2", "day4"]), ValueError, "day2.*time_map"),
        ([True, False], TypeError, "boolean"),
        (pd.array([True, None], dtype="boolean"), TypeError, "boolean"),
        (pd.Categorical([True, False]), TypeError, "boolean"),
        (pd.Series([True, 2], dtype=object), TypeError, "boolean"),
        (pd.to_timedelta([1, 2], unit="D"), TypeError, "timedelta.*total_seconds"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), TypeError, "datetime"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("UTC"), TypeError, "datetime"),
        (pd.Categorical(pd.to_timedelta([1, 2], unit="D")), TypeError, "timedelta"),
        (pd.period_range("2020-01", periods=2, freq="M"), TypeError, "period"),
        (pd.Series([datetime.date(2020, 1, 1)] * 2, dtype=object), TypeError, "type date; times must be numbers"),
        ([0.0, np.nan], ValueError, "missing or infinite for 1 of 2 cells"),
        ([0.0, np.inf], ValueError, "missing or infinite"),
        (["0", "inf"], ValueError, "missing or infinite"),
        (["0", None], ValueError, "missing or infinite"),
        (pd.array([0, None], dtype="Int64"), ValueError, "missing or infinite"),
        (pd.Categorical(["0", None]), ValueError, "missing or infinite"),
        (pd.Categorical([0.5, None]), ValueError, "missing or infinite"),
        (pd.Categorical([1, None]), ValueError, "missing or infinite"),
    ],
    ids=str,
)
def test_times_that_are_not_numbers_are_refused(time, error, message):
    adata = cells(time)
    before = adata.obs["t"].copy()
    with pytest.raises(error, match=f"(?s)obs\\['t'\\].*{message}"):
        _anndata.read_time(adata, "t")
    pd.testing.assert_series_equal(adata.obs["t"], before)


def test_incomplete_time_map_names_what_is_missing():
    with pytest.raises(ValueError, match="E9"):
        _anndata.read_time(cells(["E8.5", "E9"]), "t", {"E8.5": 8.5})


def test_time_map_leaves_missing_labels_missing():
    with pytest.raises(ValueError, match="missing or infinite for 1 of 3"):
        _anndata.read_time(cells(["E8.5", None, "E9"]), "t", {"E8.5": 8.5, "E9": 9})


def test_missing_time_key_lists_columns():
    with pytest.raises(KeyError, match=r"'day'.*Available: \['t'\]"):
        _anndata.read_time(cells([0, 1]), "day")


def test_object_without_cells_is_refused():
    with pytest.raises(ValueError, match="no cells"):
        _anndata.read_snapshots(cells([0, 1])[:0].copy(), "t", _anndata.Representation("X_r"))


def test_one_time_point_is_refused():
    with pytest.raises(ValueError, match=r"one time point \(3\)"):
        _anndata.read_snapshots(cells([3, 3]), "t", _anndata.Representation("X_r"))


def test_snapshot_of_one_cell_is_named():
    with pytest.raises(ValueError, match=r"fewer than 2 cells: 1\.5\."):
        _anndata.read_snapshots(cells([0, 0, 1.5, 2, 2]), "t", _anndata.Representation("X_r"))


def test_only_anndata_is_read():
    with pytest.raises(TypeError, match="AnnData, got DataFrame"):
        _anndata.Representation.chosen(pd.DataFrame({"t": [0, 1]}), "X_r", None, None)


# representations

X = np.array([[1.0, 0, 2], [0, 3, 0], [4, 0, 0], [0, 0, 5]])


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(np.uint8),
        np.asfortranarray,
        sparse.csr_matrix,
        sparse.csc_matrix,
        sparse.csr_array,
        lambda x: pd.DataFrame(x, index=[f"cell{k}" for k in range(4)], columns=["a", "b", "c"]),
        lambda x: pytest.importorskip("dask.array").from_array(x, chunks=(2, 3)),
        lambda x: pytest.importorskip("dask.array").from_array(sparse.csr_matrix(x), chunks=(2, 3)),
    ],
    ids="array float16 float32 int64 uint8 fortran csr csc csr_array frame dask sparse_dask".split(),
)
def test_representations_become_float64_arrays_of_their_own(convert):
    adata = cells([0, 0, 1, 1], convert(X))
    x = _anndata.read_representation(adata, "X_r")
    assert isinstance(x, np.ndarray) and x.dtype == np.float64
    np.testing.assert_array_equal(x, X)
    x[:] = -1
    np.testing.assert_array_equal(_anndata.read_representation(adata, "X_r"), X)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.where(X == 3, np.nan, X), ValueError, "NaN or infinity in 1 of 4 cells"),
        (np.where(X == 3, -np.inf, X), ValueError, "NaN or infinity"),
        (sparse.csr_matrix(np.where(X == 3, np.nan, X)), ValueError, "NaN or infinity"),
        (X[:, :0], ValueError, r"shape \(4, 0\)"),
        (np.stack([X, X], axis=2), ValueError, r"shape \(4, 3, 2\)"),
        (X.astype(str), TypeError, "numeric"),
        (X.astype(object), TypeError, "numeric"),
        (X > 1, TypeError, "bool"),
        (X + 1j, TypeError, "complex"),
        (pd.DataFrame({"a": list("abcd")}, index=[f"cell{k}" for k in range(4)]), TypeError, "numeric"),
        (np.ones((4, 2)), ValueError, "constant"),
    ],
    ids="nan inf sparse_nan empty three_axes strings objects bool complex frame_of_strings constant".split(),
)
def test_representations_that_cannot_be_used_are_refused(x, error, message):
    with pytest.raises(error, match=f"obsm\\['X_r'\\].*{message}"):
        _anndata.read_representation(cells([0, 0, 1, 1], x), "X_r")


def test_one_constant_axis_is_allowed():
    x = np.column_stack([np.ones(4), np.arange(4)])
    np.testing.assert_array_equal(_anndata.read_representation(cells([0, 0, 1, 1], x), "X_r"), x)


def test_missing_representation_lists_keys_and_hints_at_pca():
    with pytest.raises(KeyError, match=r"'X_pca' not found.*\['X_r'\].*sc\.pp\.pca"):
        _anndata.read_representation(cells([0, 1]), "X_pca")
    with pytest.raises(KeyError) as raised:
        _anndata.read_representation(cells([0, 1]), "X_umap")
    assert "pca" not in str(raised.value)


# keys


def test_keys_end_as_the_representation_does():
    keys = _anndata.Keys.of("run2", "X_pca")
    written = ("run2_velocity_pca", "run2_growth", "run2_mass", "run2_coupling")
    assert keys == ("run2", "X_pca", *written, "run2_growth_sd", "run2_velocity_sd")
    assert {name for _, name in keys.slots(n_models=2)} == {"run2", *written, "run2_growth_sd", "run2_velocity_sd"}
    assert _anndata.Keys.of("vgfm", "latent").velocity == "vgfm_velocity_latent"


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [("a/b", ValueError, "'/'"), (3, TypeError, "string"), (None, TypeError, "string"), ("", TypeError, "non-empty")],
)
def test_keys_that_cannot_be_stored_are_refused(key, error, message):
    with pytest.raises(error, match=f"key_added.*{message}"):
        _anndata.check_key(key)


@pytest.mark.parametrize(
    ("slot", "name"),
    [
        ("uns", "vgfm"),
        ("obs", "vgfm_growth"),
        ("obs", "vgfm_mass"),
        ("obsm", "vgfm_velocity_r"),
        ("obsp", "vgfm_coupling"),
    ],
)
def test_a_users_own_entry_is_not_overwritten(slot, name):
    adata = cells([0, 0, 1, 1])
    value = {"uns": {"mine": 1}, "obs": 1.0, "obsm": X, "obsp": sparse.identity(4, format="csr")}[slot]
    getattr(adata, slot)[name] = value
    with pytest.raises(ValueError, match=f"{slot}\\['{name}'\\].*key_added"):
        _anndata.check_free(adata, _anndata.Keys.of("vgfm", "X_r"), n_models=1)
    _anndata.check_free(adata, _anndata.Keys.of("other", "X_r"), n_models=1)


def test_our_own_entries_may_be_overwritten():
    adata = cells([0, 0, 1, 1])
    adata.obs["vgfm_growth"] = 1.0
    adata.uns["vgfm"] = {"package": _anndata.MARK}
    _anndata.check_free(adata, _anndata.Keys.of("vgfm", "X_r"), n_models=1)


@pytest.mark.parametrize("entry", [None, {"mine": 1}, "text"])
def test_missing_result_names_the_call_and_the_fits_present(entry):
    adata = cells([0, 1])
    if entry is not None:
        adata.uns["vgfm"] = entry
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.fit"):
        _anndata.read_result(adata, "vgfm")
    adata.uns["other"] = {"package": _anndata.MARK}
    with pytest.raises(KeyError, match=r"\['other'\]"):
        _anndata.read_result(adata, "vgfm")


# writing

ENTRIES = {
    ("obs", "a"): np.arange(4.0),
    ("obsm", "b"): X,
    ("obsp", "c"): sparse.identity(4, format="csr"),
    ("uns", "d"): {"e": 1},
}


def test_write_sets_every_entry():
    adata = cells([0, 0, 1, 1])
    _anndata.write(adata, ENTRIES)
    np.testing.assert_array_equal(adata.obs["a"], np.arange(4.0))
    np.testing.assert_array_equal(adata.obsm["b"], X)
    assert adata.obsp["c"].shape == (4, 4) and adata.uns["d"] == {"e": 1}


@pytest.mark.parametrize("wrong", [("obsm", "z"), ("obs", "z"), ("obsp", "z")])
def test_write_does_all_or_nothing(wrong, unchanged):
    adata = cells([0, 0, 1, 1])
    adata.obs["a"] = "mine"
    adata.obsm["b"] = X + 1
    adata.uns["d"] = {"mine": True}
    with unchanged(adata), pytest.raises((ValueError, AttributeError)):
        _anndata.write(adata, {**ENTRIES, wrong: np.zeros(3)})


def test_write_to_a_view_warns_at_the_callers_line_and_the_view_gets_the_result(unchanged):
    parent = cells([0, 0, 1, 1, 2, 2])
    view = parent[:4]

    def tool(adata):  # as `tl.fit` calls `write`
        _anndata.write(adata, ENTRIES)

    with unchanged(parent), pytest.warns(UserWarning, match="is a view") as caught:
        tool(view)
        here = caught[0].lineno
    assert not view.is_view
    np.testing.assert_array_equal(view.obsm["b"], X)
    assert caught[0].filename == __file__
    assert "tool(view)" in Path(__file__).read_text().splitlines()[here - 1]


def test_write_to_an_object_of_its_own_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _anndata.write(cells([0, 0, 1, 1]), ENTRIES)


# reading back


def result(**params) -> dict:
    return {
        "package": _anndata.MARK,
        "params": {"time_key": "t", "use_rep": "X_r", **params},
        "time_points": np.array([0.0, 1.0]),
        "scaling": {"centre": np.zeros(3)},
    }


def test_cells_of_a_fit_are_found_by_time_point():
    adata = cells(["1", "0", "1", "5"])
    adata.uns["vgfm"] = result()
    rows = _anndata.fitted_snapshots(adata, "vgfm")[1].rows
    assert [r.tolist() for r in rows] == [[1], [0, 2]]


@pytest.mark.parametrize(
    ("time", "stored"),
    [
        (["E8", "E9", "E8", "E10"], {"E8": 0.0, "E9": 1.0}),
        (pd.Categorical(["E8", "E9", "E8", "E10"]), {"E8": 0.0, "E9": 1.0}),
        ([8, 9, 8, 10], {"8": 0.0, "9": 1.0}),
    ],
)
def test_cells_of_a_fit_with_time_map_are_found(time, stored):
    adata = cells(time)
    adata.uns["vgfm"] = result(time_map_labels=np.array(list(stored)), time_map_values=np.array(list(stored.values())))
    assert [r.tolist() for r in _anndata.fitted_snapshots(adata, "vgfm")[1].rows] == [[0, 2], [1]]


def test_representation_of_other_width_than_the_fit_is_refused():
    adata = cells([0, 0, 1, 1], X[:, :2])
    adata.uns["vgfm"] = result()
    with pytest.raises(ValueError, match=r"2 dimensions, the fit under 'vgfm' had 3.*vgfm_sc\.tl\.fit"):
        _anndata.fitted_snapshots(adata, "vgfm")


def test_missing_trajectories_name_the_call():
    adata = cells([0, 0, 1, 1])
    adata.uns["vgfm"] = result()
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.simulate\(adata\)"):
        _anndata.read_trajectories(adata, "vgfm")


def test_missing_growth_names_the_call():
    with pytest.raises(KeyError, match=r"vgfm_growth.*vgfm_sc\.tl\.fit"):
        _anndata.read_growth(cells([0, 1]), "vgfm")
