from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from vgfm_sc import tl
from vgfm_sc.core.reading import projection


@pytest.fixture
def labelled(simulated) -> ad.AnnData:
    """7 trajectories among 867 cells with columns of several kinds; the genes are the coordinates."""
    adata = simulated.copy()
    rng = np.random.default_rng(0)
    adata.obs["type"] = pd.Categorical(rng.choice(["x", "y", "z"], adata.n_obs), categories=["z", "unused", "y", "x"])
    adata.obs["score"] = rng.normal(size=adata.n_obs)
    return adata


def stored(adata) -> dict:
    return adata.uns["vgfm"]["trajectories"]


def weights(adata, cells=slice(None)) -> np.ndarray:
    """Of the cells at every point of the trajectories, shape ``(n_times * n, n_cells)``; each row adds up to 1.

    The 30 nearest cells weigh by the square of 1 - (r / R)^2, R the distance of the 31st.
    """
    distance = cdist(stored(adata)["positions"].reshape(-1, 2), adata.obsm["X_genes"][cells])
    reach = np.sort(distance, axis=1)[:, 30:31]
    weight = np.where(distance < reach, (1 - (distance / reach) ** 2) ** 2, 0)
    return weight / weight.sum(axis=1, keepdims=True)


def test_labels_are_those_that_weigh_most_among_the_nearest_cells(labelled):
    assert tl.annotate(labelled, "type") is None
    found = stored(labelled)["labels"]["type"]
    assert found["codes"].dtype == np.int32 and found["codes"].shape == (9, 7)
    assert found["categories"].tolist() == ["z", "y", "x"]
    shares = weights(labelled) @ np.eye(3)[labelled.obs["type"].cat.remove_unused_categories().cat.codes]
    first, second = np.sort(shares, axis=1)[:, ::-1][:, :2].T
    clear = first > second + 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found["codes"].ravel()[clear], shares.argmax(axis=1)[clear])
    assert len(set(found["codes"].ravel())) == 3


def test_numbers_and_genes_are_means_over_the_nearest_cells(labelled):
    tl.annotate(labelled, ["gene2", "score"])
    found = stored(labelled)["values"]
    assert found["names"].tolist() == ["gene2", "score"]
    assert found["values"].dtype == np.float32 and found["values"].shape == (9, 7, 2)
    wanted = weights(labelled) @ np.column_stack([labelled.X[:, 1], labelled.obs["score"]])
    np.testing.assert_allclose(found["values"].reshape(-1, 2), wanted, rtol=1e-3, atol=1e-4)


def test_what_is_the_same_everywhere_is_carried_as_it_is(labelled):
    labelled.obs["same"], labelled.obs["kind"] = 3.5, "only"
    tl.annotate(labelled, ["same", "kind"])
    np.testing.assert_allclose(stored(labelled)["values"]["values"], 3.5, rtol=1e-6)
    assert stored(labelled)["labels"]["kind"]["categories"].tolist() == ["only"]
    assert not stored(labelled)["labels"]["kind"]["codes"].any()


def test_cells_without_a_value_are_not_asked(labelled):
    known = np.arange(labelled.n_obs) % 3 > 0
    labelled.obs["score"] = labelled.obs["score"].where(known)
    labelled.obs["type"] = pd.Categorical(np.where(labelled.obsm["X_genes"][:, 0] < 1, "low", "high")).codes
    labelled.obs["type"] = labelled.obs["type"].map({0: "high", 1: "low"}).where(known)
    tl.annotate(labelled, ["score", "type"])
    near = weights(labelled, known)
    found = stored(labelled)["values"]["values"].ravel()
    np.testing.assert_allclose(found, near @ labelled.obs["score"][known], rtol=1e-3, atol=1e-4)
    low = near @ (labelled.obs["type"][known] == "low") > 0.5
    labels = stored(labelled)["labels"]["type"]
    np.testing.assert_array_equal(labels["categories"][labels["codes"].ravel()] == "low", low)


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        ([True, False], ["False", "True"]),
        (pd.array([True, False], dtype="boolean"), ["False", "True"]),
        (["p", "q"], ["p", "q"]),
        (pd.Categorical([2, 10]), ["2", "10"]),
    ],
    ids=["bool", "boolean", "str", "category"],
)
def test_text_truth_values_and_categories_are_labels(labelled, values, categories):
    column = pd.Series(values).iloc[np.arange(labelled.n_obs) % 2]
    labelled.obs["column"] = column.set_axis(labelled.obs_names)
    tl.annotate(labelled, "column")
    assert stored(labelled)["labels"]["column"]["categories"].tolist() == categories


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array])
def test_genes_come_from_the_layer(labelled, form):
    labelled.layers["ten"] = form(10 * labelled.X)
    tl.annotate(labelled, "gene1")
    from_x = stored(labelled)["values"]["values"]
    tl.annotate(labelled, "gene1", layer="ten")
    np.testing.assert_allclose(stored(labelled)["values"]["values"], 10 * from_x, rtol=1e-5)
    assert stored(labelled)["values"]["names"].tolist() == ["gene1"]


def test_earlier_ones_are_kept_and_those_of_the_same_name_replaced(labelled):
    tl.annotate(labelled, ["type", "gene1"])
    first = stored(labelled)
    labelled.obs["score"] = 1.0
    tl.annotate(labelled, ["score", "branch"])
    labelled.obs["score"] = 2.0
    tl.annotate(labelled, "score")
    assert stored(labelled)["values"]["names"].tolist()[0] == "gene1"
    at = stored(labelled)["values"]["names"].tolist().index("score")
    np.testing.assert_allclose(stored(labelled)["values"]["values"][..., at], 2)
    np.testing.assert_array_equal(stored(labelled)["values"]["values"][..., 0], first["values"]["values"][..., 0])
    np.testing.assert_array_equal(stored(labelled)["labels"]["type"]["codes"], first["labels"]["type"]["codes"])


def test_a_new_simulation_drops_them(labelled):
    tl.annotate(labelled, ["type", "gene1"])
    tl.simulate(labelled, n_cells=3)
    assert not {"labels", "values"} & set(stored(labelled))


def test_nothing_else_changes(labelled, unchanged, same_random_state):
    before = {**stored(labelled)}
    rest = labelled.copy()
    tl.annotate(labelled, ["type", "gene1"])
    for name, value in before.items():
        np.testing.assert_array_equal(stored(labelled)[name], value)
    with unchanged(rest):
        rest.uns["vgfm"], back = labelled.uns["vgfm"], rest.uns["vgfm"]
        for slot in ("obs", "obsm"):
            assert list(getattr(labelled, slot)) == list(getattr(rest, slot))
        rest.uns["vgfm"] = back


def test_the_order_of_the_cells_does_not_matter(labelled):
    shuffled = labelled[np.random.default_rng(1).permutation(labelled.n_obs)].copy()
    for adata in (labelled, shuffled):
        tl.annotate(adata, ["type", "score"])
    np.testing.assert_allclose(
        stored(shuffled)["values"]["values"], stored(labelled)["values"]["values"], rtol=1e-4, atol=1e-5
    )
    assert (stored(shuffled)["labels"]["type"]["codes"] == stored(labelled)["labels"]["type"]["codes"]).mean() > 0.98


def test_of_many_cells_some_are_searched_and_the_seed_says_which(labelled, monkeypatch):
    monkeypatch.setattr(projection, "LANDMARKS", 200)
    found = []
    for seed in (0, 0, 1):
        tl.annotate(labelled, "score", seed=seed)
        found.append(stored(labelled)["values"]["values"])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_another_key_is_annotated(labelled):
    labelled.uns["mine"] = labelled.uns["vgfm"]
    for name in ("growth", "mass"):
        labelled.obs[f"mine_{name}"] = labelled.obs[f"vgfm_{name}"]
    tl.annotate(labelled, "score", key="mine")
    assert "values" in labelled.uns["mine"]["trajectories"] and "values" not in stored(labelled)


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored(labelled, tmp_path, suffix):
    tl.annotate(labelled, ["type", "gene1"])
    path = tmp_path / f"a.{suffix}"
    getattr(labelled, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    tl.annotate(again, "score")  # adds to what was read
    assert stored(again)["values"]["names"].tolist() == ["gene1", "score"]
    for name, wanted in stored(labelled)["labels"]["type"].items():
        np.testing.assert_array_equal(stored(again)["labels"]["type"][name], wanted)
    np.testing.assert_array_equal(
        stored(again)["values"]["values"][..., 0], stored(labelled)["values"]["values"][..., 0]
    )


def change(adata, name, value, slot="obs"):
    adata = adata.copy()
    getattr(adata, slot)[name] = value
    return adata


def twice(adata):
    adata = adata.copy()
    adata.var_names = ["gene1", "gene1"]
    return adata


BAD = {
    "no fit": (lambda a: ad.AnnData(obs=a.obs), "type", {}, KeyError, r"vgfm_sc\.tl\.fit"),
    "another key": (lambda a: a.copy(), "type", {"key": "mine"}, KeyError, r"uns\['mine'\]"),
    "unknown": (lambda a: a.copy(), ["type", "gene9"], {}, KeyError, r"\['gene9'\] found neither.*'score'"),
    "layer": (lambda a: a.copy(), "gene1", {"layer": "raw"}, KeyError, r"Layer 'raw' not found.*\[\]"),
    "twice": (twice, "gene1", {}, ValueError, "var_names_make_unique"),
    "no label": (
        lambda a: change(a, "none", pd.Categorical([None] * a.n_obs)),
        "none",
        {},
        ValueError,
        "'none' is mis",
    ),
    "no number": (lambda a: change(a, "none", np.nan), ["score", "none"], {}, ValueError, "missing in every cell"),
    "slash": (lambda a: change(a, "a/b", "p"), "a/b", {}, ValueError, r"'a/b' contains '/'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(labelled, unchanged, case):
    make, keys, arguments, error, message = BAD[case]
    adata = make(labelled)
    with unchanged(adata), pytest.raises(error, match=message):
        tl.annotate(adata, keys, **arguments)


def test_without_trajectories_the_call_to_make_is_named(fitted, unchanged):
    with unchanged(fitted), pytest.raises(KeyError, match=r"vgfm_sc\.tl\.simulate\(adata\)"):
        tl.annotate(fitted, "branch")
