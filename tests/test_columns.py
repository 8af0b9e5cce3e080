"""One value a cell; none of this needs torch."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vgfm_sc import _anndata


@pytest.fixture
def cells() -> ad.AnnData:
    """6 cells with 3 genes."""
    x = np.arange(18, dtype=np.float32).reshape(6, 3)
    adata = ad.AnnData(x, pd.DataFrame(index=list("abcdef")), pd.DataFrame(index=["g0", "g1", "g2"]))
    adata.layers["ten"] = 10 * x
    return adata


@pytest.mark.parametrize(
    ("column", "codes", "categories"),
    [
        (["p", "q", "p", "p", "q", "p"], [0, 1, 0, 0, 1, 0], ["p", "q"]),
        (["p", None, "p", "p", "q", np.nan], [0, -1, 0, 0, 1, -1], ["p", "q"]),
        ([True, False] * 3, [1, 0] * 3, [False, True]),
        (pd.array([True, None] * 3, dtype="boolean"), [0, -1] * 3, [True]),
        (pd.array(["p", None] * 3, dtype="string"), [0, -1] * 3, ["p"]),
        (pd.Categorical(list("pqpqpq"), categories=list("zqp")), [1, 0] * 3, ["q", "p"]),
        (pd.Categorical([2, 10, 2, 10, 2, 10]), [0, 1] * 3, [2, 10]),
        (pd.Categorical([None] * 6), [-1] * 6, []),
    ],
    ids=["text", "gaps", "bool", "boolean", "string", "unused", "numbers", "empty"],
)
def test_text_truth_values_and_categories_are_categories(cells, column, codes, categories):
    cells.obs["column"] = column
    for read in (_anndata.read_column, _anndata.read_categories)[: 1 if not categories else 2]:
        found = read(cells, "column")
        assert isinstance(found, pd.Categorical)
        assert found.codes.tolist() == codes and found.categories.tolist() == categories


@pytest.mark.parametrize(
    "column",
    [
        np.array([0, 1, 2, 3, 4, 5], dtype=np.int8),
        np.array([0, 1, np.nan, 3, 4, 5], dtype=np.float32),
        pd.array([0, 1, None, 3, 4, 5], dtype="Int64"),
        pd.array([0, 1, None, 3, 4, 5], dtype="Float32"),
    ],
    ids=lambda column: str(column.dtype),
)
def test_numbers_are_float64_with_nan_where_missing(cells, column):
    cells.obs["column"] = column
    found = _anndata.read_column(cells, "column")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [0, 1, 2 if column.dtype == np.int8 else np.nan, 3, 4, 5])
    with pytest.raises(TypeError, match=r"obs\['column'\] holds numbers.*astype\('category'\)"):
        _anndata.read_categories(cells, "column")


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
def test_genes_are_read_in_the_order_they_are_named(cells, form):
    wanted = cells.X.astype(float)
    cells.X, cells.layers["ten"] = form(cells.X), form(cells.layers["ten"])
    found = _anndata.read_genes(cells, ["g2", "g0"])
    assert found.dtype == np.float64 and isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, wanted[:, [2, 0]])
    np.testing.assert_array_equal(_anndata.read_genes(cells, ["g1"], "ten"), 10 * wanted[:, [1]])
    np.testing.assert_array_equal(_anndata.read_column(cells, "g1", "ten"), 10 * wanted[:, 1])
    np.testing.assert_array_equal(_anndata.read_genes(cells[3:], ["g1"]), wanted[3:, [1]])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_genes_are_read_from_files_left_open(cells, form, tmp_path):
    wanted = cells.X.astype(float)
    cells.X = form(cells.X)
    cells.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(_anndata.read_genes(backed, ["g2", "g0"]), wanted[:, [2, 0]])
    np.testing.assert_array_equal(_anndata.read_genes(backed, ["g2", "g0"], "ten"), 10 * wanted[:, [2, 0]])
    backed.file.close()


def test_genes_are_read_from_dask(cells):
    dask = pytest.importorskip("dask.array")
    wanted = cells.X.astype(float)
    cells.X = dask.from_array(cells.X, chunks=2)
    np.testing.assert_array_equal(_anndata.read_genes(cells, ["g2", "g0"]), wanted[:, [2, 0]])


def test_a_column_goes_before_a_gene(cells):
    cells.obs["g1"] = -1.0
    assert set(_anndata.read_column(cells, "g1")) == {-1.0}


def test_what_cannot_be_read_is_refused(cells):
    cells.obs["type"], cells.obs["none"] = "p", pd.Categorical([None] * 6)
    for error, message, read in (
        (
            KeyError,
            r"\['g9'\] found neither.*\['type', 'none'\]",
            lambda: _anndata.read_column(cells, "g9"),
        ),
        (KeyError, r"\['g9', 'g8'\]", lambda: _anndata.read_genes(cells, ["g9", "g0", "g8"])),
        (KeyError, r"Layer 'raw' not found.*\['ten'\]", lambda: _anndata.read_column(cells, "g0", "raw")),
        (KeyError, r"'g0' not found in adata\.obs.*\['type', 'none'\]", lambda: _anndata.read_categories(cells, "g0")),
        (ValueError, r"obs\['none'\] is missing in every cell", lambda: _anndata.read_categories(cells, "none")),
        (ValueError, "adata.X is empty", lambda: _anndata.read_genes(ad.AnnData(var=cells.var, obs=cells.obs), ["g0"])),
    ):
        with pytest.raises(error, match=message):
            read()
    cells.var_names = ["g0", "g0", "g2"]
    with pytest.raises(ValueError, match="var_names_make_unique"):
        _anndata.read_genes(cells, ["g2"])
