"""Lineage barcodes, read and checked; none of this needs torch."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import _anndata

ROWS = [np.array([0, 1, 2]), np.array([3, 4, 5])]
"""Three cells at each of two time points; a seventh is of neither."""


def clones(column, rows=ROWS) -> np.ndarray:
    adata = ad.AnnData(obs=pd.DataFrame(index=list("abcdefg")))
    adata.obs["clone"] = column
    before = adata.obs.copy()
    try:
        return _anndata.read_clones(adata, "clone", rows)
    finally:
        pd.testing.assert_frame_equal(adata.obs, before)


@pytest.mark.parametrize(
    "column",
    [
        ["p", "q", None, "p", "q", np.nan, "p"],
        pd.Categorical(["p", "q", None, "p", "q", None, "p"], categories=["unused", "p", "q"]),
        pd.array(["p", "q", None, "p", "q", None, "p"], dtype="string"),
        pd.array([5, 70, None, 5, 70, None, 5], dtype="Int64"),
        np.array([5, 70, None, 5, 70, np.nan, 5], dtype=object),
        pd.Categorical([5.0, 70.0, None, 5.0, 70.0, None, 5.0]),
    ],
    ids=["text", "categories", "string", "Int64", "object", "categories of floats"],
)
def test_barcodes_are_numbered_and_missing_ones_are_minus_1(column):
    found = clones(column)
    assert found.dtype == np.int64
    assert found.tolist() == [0, 1, -1, 0, 1, -1, 0]


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64", "bool"])
def test_integers_and_booleans_are_barcodes(dtype):
    assert clones(np.array([1, 0, 0, 1, 0, 1, 0], dtype=dtype)).tolist() == [1, 0, 0, 1, 0, 1, 0]


def test_clones_of_one_cell_and_cells_of_other_times_keep_their_number():
    assert clones(["p", "q", "r", "p", "s", "s", "t"]).tolist() == [0, 1, 2, 0, 3, 3, 4]


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (np.arange(7.0), TypeError, r"obs\['clone'\] holds floating-point numbers.*astype\('Int64'\)"),
        (np.array([1, 2, np.nan, 1, 2, 1, 1], dtype=np.float32), TypeError, "floating-point"),
        (pd.array([1, 2, None, 1, 2, 1, 1], dtype="Float64"), TypeError, "floating-point"),
        (np.array([1.0, 2.0, None, 1.0, 2.0, 1.0, 1.0], dtype=object), TypeError, "floating-point"),
        (["p"] * 7, ValueError, "one value in all 6 cells that have any"),
        (["p", None, None, "p", None, None, "q"], ValueError, "one value in all 2 cells that have any"),
        (list("abcdefg"), ValueError, "6 values in 6 cells: every cell is a clone of its own"),
        (["a", "b", None, "d", None, None, "a"], ValueError, "3 values in 3 cells"),
        (["a", "a", "b", "c", "c", "d", "a"], ValueError, "4 clones in 6 cells, and none has cells at two time points"),
        ([None] * 6 + ["a"], ValueError, "missing in every cell of the 2 time points"),
        (["p", "q", "nan", "p", "q", "", "p"], ValueError, r"\['', 'nan'\] in 2 cells.*Set cells without a barcode"),
        (np.array([5, 6, -1, 5, 6, -1, 5]), ValueError, r"\['-1'\] in 2 cells"),
    ],
    ids=["floats", "float32", "Float64", "objects", "one", "one with gaps", "own", "own with gaps", "apart", "missing",
         "filled", "negative"],
)  # fmt: skip
def test_columns_that_are_no_clones_are_refused(column, error, message):
    with pytest.raises(error, match=message):
        clones(column)


def test_a_time_point_without_cells_is_no_obstacle():
    assert clones(["p", "q", "p", "p", "q", "p", "p"], [*ROWS, np.array([], dtype=int)]).max() == 1


def test_a_column_that_is_not_there_lists_those_that_are():
    adata = ad.AnnData(obs=pd.DataFrame({"barcode": list("ab")}, index=list("ab")))
    with pytest.raises(KeyError, match=r"'clone' not found.*\['barcode'\]"):
        _anndata.read_clones(adata, "clone", ROWS)
    with pytest.raises(TypeError, match="clone_key must be a name, got 3"):
        _anndata.read_clones(adata, 3, ROWS)
