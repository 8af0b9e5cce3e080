"""Positions read from obsm or from the expression of genes; none of this needs torch."""

from __future__ import annotations

import tracemalloc

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vgfm_sc._anndata import Representation, fitted_basis, read_coordinates
from vgfm_sc._anndata import expression as anndata_expression

X = np.array([[1.0, 0, 2, 0], [0, 3, 0, 1], [4, 0, 0, 0], [0, 0, 5, 7]])
GENES = ["a", "b", "c", "d"]


def expression(x=X) -> ad.AnnData:
    """Four genes, of which ``var["some"]`` marks a and c; half of each in ``layers["half"]``."""
    var = pd.DataFrame({"some": [True, False, True, False], "score": [1.0, 2, 3, 4]}, index=GENES)
    adata = ad.AnnData(x, obs=pd.DataFrame(index=[f"cell{k}" for k in range(4)]), var=var)
    adata.layers["half"] = x / 2
    adata.obsm["X_r"] = X[:, :3]
    return adata


def read(adata, layer=None, genes=None):
    return Representation.chosen(adata, None, layer, genes).read(adata)


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int64),
        np.asfortranarray,
        sparse.csr_matrix,
        sparse.csc_matrix,
        sparse.csr_array,
        lambda x: pytest.importorskip("dask.array").from_array(x, chunks=(2, 3)),
        lambda x: pytest.importorskip("dask.array").from_array(sparse.csr_matrix(x), chunks=(2, 4)),
    ],
    ids="array float32 int64 fortran csr csc csr_array dask sparse_dask".split(),
)
@pytest.mark.parametrize(
    ("genes", "columns"),
    [(None, [0, 1, 2, 3]), ("some", [0, 2]), (["c", "a"], [2, 0]), (np.array(["d", "a", "b"]), [3, 0, 1])],
    ids="all column names array".split(),
)
def test_expression_of_the_chosen_genes_becomes_a_float64_array_of_its_own(convert, genes, columns):
    adata = expression(convert(X))
    for layer, factor in ((None, 1.0), ("half", 0.5)):
        x = read(adata, layer, genes)
        assert isinstance(x, np.ndarray) and x.dtype == np.float64
        np.testing.assert_array_equal(x, factor * X[:, columns])
        x[:] = -1
        np.testing.assert_array_equal(read(adata, layer, genes), factor * X[:, columns])


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_a_backed_object_is_read_from_its_file(tmp_path, convert):
    expression(convert(X)).write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(read(backed, genes=["d", "a"]), X[:, [3, 0]])
    np.testing.assert_array_equal(read(backed, "half", genes=["d", "a"]), X[:, [3, 0]] / 2)
    backed.file.close()


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
def test_sparse_expression_is_not_made_dense_beyond_the_chosen_genes(kind):
    whole = kind(sparse.random_array((1000, 20_000), density=0.01, rng=np.random.default_rng(0)))
    adata = ad.AnnData(whole)
    tracemalloc.start()
    x = read(adata, genes=adata.var_names[:50].tolist())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert x.shape == (1000, 50)
    assert peak < 0.05 * 8 * whole.shape[0] * whole.shape[1]


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
@pytest.mark.parametrize(
    "arguments", [("X_r", None, None), (None, None, None), (None, "half", ["c", "a"]), (None, None, "some")]
)
def test_what_a_fit_stores_finds_the_same_matrix_again(tmp_path, kind, arguments):
    adata = expression()
    chosen = Representation.chosen(adata, *arguments)
    adata.uns["params"] = chosen.params()
    getattr(adata, f"write_{kind}")(tmp_path / "a")
    back = {"h5ad": ad.read_h5ad, "zarr": ad.read_zarr}[kind](tmp_path / "a")
    stored = Representation.stored(back.uns["params"])
    assert (stored.name, stored.where, stored.axes(3)) == (chosen.name, chosen.where, chosen.axes(3))
    np.testing.assert_array_equal(stored.read(back), chosen.read(adata))


def test_genes_are_found_by_name_in_other_order_and_among_others():
    chosen = Representation.chosen(expression(), None, None, ["d", "a"])
    other = ad.concat([expression()[:, ::-1], ad.AnnData(np.ones((4, 2)), obs=expression().obs)], axis=1)
    np.testing.assert_array_equal(chosen.read(other), X[:, [3, 0]])


def test_genes_missing_since_are_named():
    chosen = Representation.chosen(expression(), None, None, None)
    with pytest.raises(KeyError, match=r"2 of 4 genes are not in adata\.var_names: b, c\. .*vgfm_sc\.tl\.fit"):
        chosen.read(expression()[:, ["a", "d"]].copy())
    many = Representation(None, None, np.array([f"gene{k}" for k in range(50)]))
    with pytest.raises(KeyError, match=r"50 of 50 genes.*gene0, .*gene9, \.\.\.\. Take"):
        many.read(expression())


def test_names_say_what_was_read():
    assert Representation("X_pca").where == "obsm['X_pca']" and Representation("X_pca").axes(2) == ["pca1", "pca2"]
    chosen = Representation.chosen(expression(), None, "half", "some")
    assert (chosen.where, chosen.name, chosen.axes(2)) == ("layers['half']", "genes", ["a", "c"])
    assert Representation.chosen(expression(), None, None, None).where == "X"


BAD = {
    "not AnnData": (lambda a: pd.DataFrame(), {}, TypeError, "AnnData, got DataFrame"),
    "layer with obsm": (None, {"use_rep": "X_r", "layer": "half"}, ValueError, r"does not accept layer.*use_rep=None"),
    "both with obsm": (None, {"use_rep": "X_r", "layer": "half", "genes": "some"}, ValueError, "layer and genes"),
    "layer missing": (None, {"layer": "counts"}, KeyError, r"'counts' not found.*\['half'\]"),
    "column missing": (None, {"genes": "b"}, KeyError, r"'b' not found in adata.var.*some.*genes=\['b'\]"),
    "column of numbers": (None, {"genes": "score"}, TypeError, r"var\['score'\] is of type float64"),
    "column of nothing": (lambda a: mark(a, [False] * 4), {"genes": "some"}, ValueError, "none of the 4 genes"),
    "column with gaps": (
        lambda a: mark(a, pd.array([True, None, True, True])),
        {"genes": "some"},
        TypeError,
        "boolean",
    ),
    "no genes": (None, {"genes": []}, ValueError, "none of the 4 genes"),
    "gene unknown": (None, {"genes": ["a", "z"]}, KeyError, r"1 of 2 genes.*: z\."),
    "gene twice": (None, {"genes": ["a", "b", "a"]}, ValueError, r"names \['a'\] more than once"),
    "genes not unique": (lambda a: rename(a, ["a", "a", "b", "c"]), {}, ValueError, "var_names_make_unique"),
    "no expression": (lambda a: ad.AnnData(obs=a.obs, var=a.var), {}, ValueError, "X is empty"),
    "NaN": (lambda a: expression(np.where(X == 3, np.nan, X)), {}, ValueError, "^X holds NaN or infinity in 1 of 4"),
    "NaN in layer": (
        lambda a: expression(sparse.csr_matrix(np.where(X == 3, np.nan, X))),
        {"layer": "half"},
        ValueError,
        r"layers\['half'\] holds NaN",
    ),
    "constant": (lambda a: expression(np.ones((4, 4))), {}, ValueError, "X is constant"),
}


def mark(adata, values):
    adata.var["some"] = values
    return adata


def rename(adata, names):
    adata.var_names = names
    return adata


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("case", BAD)
def test_expression_that_cannot_be_used_is_refused(case):
    spoil, arguments, error, message = BAD[case]
    adata = spoil(expression()) if spoil else expression()
    with pytest.raises(error, match=message):
        Representation.chosen(adata, **{"use_rep": None, "layer": None, "genes": None, **arguments}).read(adata)


def test_coordinates_are_those_of_the_fit_or_of_an_embedding():
    adata = expression()
    adata.obsm["X_genes"] = X[:, :2] + 10
    package = {"package": "vgfm_sc", "weights": {}}
    adata.uns["vgfm"] = {**package, "params": Representation.chosen(adata, None, None, ["c", "a", "b"]).params()}
    adata.uns["second"] = {**package, "params": {"use_rep": "X_genes"}}
    assert fitted_basis(adata, "vgfm") == fitted_basis(adata, "second") == "genes"
    np.testing.assert_array_equal(read_coordinates(adata, "vgfm", "genes"), X[:, [2, 0]])
    np.testing.assert_array_equal(read_coordinates(adata, "second", "genes"), X[:, :2] + 10)
    np.testing.assert_array_equal(read_coordinates(adata, "vgfm", "r"), X[:, :3])


def traced(read):
    """What it returns, and the most memory that was allocated meanwhile, as a share of that."""
    tracemalloc.start()
    x = read()
    peak = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    return x, peak


def lazily(x, chunks):
    """A dask array that is made a chunk at a time, and the first row of each chunk that was made."""
    made = []

    def chunk(block_info=None):
        rows, columns = block_info[None]["array-location"]
        made.append(rows[0])
        return x[slice(*rows), slice(*columns)]

    da = pytest.importorskip("dask.array")
    array = da.map_blocks(chunk, chunks=(chunks, x.shape[1]), dtype=x.dtype, meta=x[:0])
    return array, made


@pytest.mark.parametrize("of", ["obsm", "genes"])
def test_chunks_of_dask_are_made_once_and_never_all_of_them_held(of, monkeypatch):
    x = np.random.default_rng(0).standard_normal((40_000, 25)).astype(np.float32)
    monkeypatch.setattr(anndata_expression, "BLOCK_NUMBERS", 25 * 2500)
    array, made = lazily(x, (*[1000] * 30, 4000, 500, *[1100] * 5))
    adata = ad.AnnData(array if of == "genes" else None, obs=pd.DataFrame(index=[f"c{k}" for k in range(len(x))]))
    if of == "obsm":
        adata.obsm["X_r"] = array
    representation = Representation.chosen(adata, None if of == "genes" else "X_r", None, None)
    array[:1].compute()  # loads modules, which are no part of what is measured
    made.clear()
    found, peak = traced(lambda: representation.read(adata))
    np.testing.assert_array_equal(found, x)
    assert sorted(made) == sorted(set(made)) and len(made) == len(array.chunks[0])
    assert peak < 1.4  # all chunks would be half as much again


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_rows_of_a_file_are_read_in_blocks(convert, monkeypatch, tmp_path):
    x = np.random.default_rng(0).poisson(0.1, (30_000, 30)).astype(np.float32)
    ad.AnnData(convert(x)).write_h5ad(tmp_path / "a.h5ad")
    monkeypatch.setattr(anndata_expression, "BLOCK_NUMBERS", 30 * 1000)
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    found, peak = traced(lambda: read(backed))
    np.testing.assert_array_equal(found, x)
    assert peak < 1.4
    backed.file.close()
