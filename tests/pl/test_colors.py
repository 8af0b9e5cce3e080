from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgba
from scipy import sparse

from vgfm_sc import _anndata, pl
from vgfm_sc.pl import _colors

OWN = [to_hex(color) for color in _colors.QUALITATIVE]
RED_GREEN_BLUE = {"a": "#ff0000", "b": "#008000", "c": "#0000ff"}


def clouds(ax: Axes) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def cells(adata, color, **arguments) -> Axes:
    """The cells of `pl.velocity`; their arrows are no `PathCollection`."""
    return pl.velocity(adata, color=color, **arguments, show=False)


def colors_of(adata, palette=None, categories=("a", "b", "c")) -> dict[str, str]:
    return {name: to_hex(color) for name, color in _colors.of_categories(adata, "type", categories, palette).items()}


def names(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def drawn_colors(ax: Axes, x: np.ndarray) -> list[str]:
    """The colour that each cell of ``x`` is drawn in."""
    found = {}
    for cloud in clouds(ax):
        offsets = np.asarray(cloud.get_offsets())
        faces = np.broadcast_to(cloud.get_facecolor(), (len(offsets), 4))
        found |= {tuple(at): to_hex(face) for at, face in zip(offsets, faces, strict=True)}
    return [found[tuple(at)] for at in x]


# colours of categories


@pytest.mark.parametrize(
    "stored",
    [
        ["red", "green", "blue"],
        ("red", "green", "blue"),
        np.array(["#ff0000", "#008000", "#0000ff"]),
        np.array(["red", "green", "blue"], dtype=object),
        {"c": "blue", "a": "red", "b": "green"},
        [(1, 0, 0), (0, 128 / 255, 0), (0, 0, 1)],
        np.array([[1, 0, 0], [0, 128 / 255, 0], [0, 0, 1]]),
        ["red", "green", "blue", "black"],
    ],
    ids=lambda stored: type(stored).__name__,
)
def test_colours_of_uns_are_taken(made, stored):
    made.uns["type_colors"] = stored
    assert colors_of(made) == RED_GREEN_BLUE
    assert drawn_colors(cells(made, "type"), made.obsm["X_r"]) == [RED_GREEN_BLUE[c] for c in made.obs["type"]]


@pytest.mark.parametrize(
    "stored",
    [["red", "green"], [], ["red", "green", "nonsense"], {"a": "nonsense"}, "viridis", [1, 2, 3]],
    ids=str,
)
def test_colours_of_uns_that_do_not_fit_are_passed_over(made, stored):
    made.uns["type_colors"] = stored
    assert list(colors_of(made).values()) == OWN[:3]


def test_colours_belong_to_categories_also_where_some_have_no_cells(made):
    made.obs["type"] = made.obs["type"].cat.set_categories(["x", "c", "y", "b", "a"])
    made.uns["type_colors"] = ["black", "blue", "white", "green", "red"]
    ax = cells(made, "type")
    assert drawn_colors(ax, made.obsm["X_r"]) == [RED_GREEN_BLUE[c] for c in made.obs["type"]]
    assert names(ax) == ["c", "b", "a"]


@pytest.mark.parametrize("palette", [None, ["red", "green", "blue"], "viridis"])
def test_some_of_the_categories_have_the_colours_that_they_have_among_all(made, palette):
    every = colors_of(made, palette)
    assert colors_of(made, palette, ["c", "b"]) == {"c": every["c"], "b": every["b"]}


def test_a_category_that_no_cell_has_takes_a_colour_of_its_own(made):
    """Trajectories keep labels whose cells are gone."""
    assert list(colors_of(made, None, ["d", "c"]).values()) == [OWN[3], OWN[2]]
    made.uns["type_colors"] = ["red", "green", "blue"]
    assert colors_of(made, None, ["d", "c"]) == {"d": to_hex(_colors.NA_COLOR), "c": "#0000ff"}


def test_a_palette_goes_before_colours_of_uns(made):
    made.uns["type_colors"] = ["black", "white", "gray"]
    for palette in (["red", "green", "blue"], RED_GREEN_BLUE, {**RED_GREEN_BLUE, "z": "black"}):
        assert colors_of(made, palette) == RED_GREEN_BLUE


def test_a_colour_map_as_palette_gives_its_list_or_is_spread(made):
    found = list(colors_of(made, "Set1").values())
    assert found == [to_hex(color) for color in plt.colormaps["Set1"].colors[:3]]
    found = list(colors_of(made, "viridis").values())
    assert found == [to_hex(plt.colormaps["viridis"](k / 3)) for k in range(3)]


def test_a_short_list_is_gone_through_again(made):
    assert list(colors_of(made, ["k", "w"]).values()) == [*map(to_hex, "kwk")]


@pytest.mark.parametrize(
    ("palette", "error", "message"),
    [
        ({"a": "red"}, KeyError, r"no colour for \['b', 'c'\]"),
        (["red", "nonsense"], ValueError, "no colour: .*'nonsense'"),
        ({**RED_GREEN_BLUE, "b": 7}, ValueError, r"no colour: \[7\]"),
        ("nonsense", ValueError, "'nonsense' is not a colour map"),
        ([], ValueError, "empty"),
    ],
)
def test_palettes_that_are_none_are_refused(made, palette, error, message):
    with pytest.raises(error, match=message):
        cells(made, "type", palette=palette)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("n", [1, 38, 39, 40])
def test_any_number_of_categories_have_colours_of_their_own(made, n):
    made.obs["many"] = pd.Categorical([f"type {k % n:02d}" for k in range(made.n_obs)])
    ax = cells(made, "many")
    assert len(set(drawn_colors(ax, made.obsm["X_r"]))) == n
    assert names(ax) == [f"type {k:02d}" for k in range(n)]
    assert ax.get_legend()._ncols == -(-n // _colors.LEGEND_ROWS)


# what colours the cells

TEXT = {
    "strings": (["p", "q", "r"], ["p", "q", "r"]),
    "booleans": ([True, False, True], ["False", "True"]),
    "nullable booleans": (pd.array([True, False, True], dtype="boolean"), ["False", "True"]),
    "categories of numbers": (pd.Categorical([2, 10, 2]), ["2", "10"]),
    "unused categories": (pd.Categorical(["p", "q", "p"], categories=["z", "q", "p"]), ["q", "p"]),
}


@pytest.mark.parametrize("kind", TEXT)
def test_text_and_truth_values_are_categories(made, kind):
    values, wanted = TEXT[kind]
    made.obs["column"] = pd.Series(values).loc[np.arange(made.n_obs) % 3].to_numpy()
    if isinstance(values, pd.Categorical):
        made.obs["column"] = made.obs["column"].astype(values.dtype)
    ax = cells(made, "column")
    assert names(ax) == wanted
    shades = dict(zip(wanted, OWN, strict=False))
    assert drawn_colors(ax, made.obsm["X_r"]) == [shades[str(v)] for v in made.obs["column"]]


def test_cells_without_a_label_have_a_colour_of_their_own_and_no_name(made):
    made.obs["type"] = made.obs["type"].where(np.arange(made.n_obs) % 4 > 0)
    ax = cells(made, "type", na_color="black", palette=RED_GREEN_BLUE)
    assert drawn_colors(ax, made.obsm["X_r"]) == [RED_GREEN_BLUE.get(c, "#000000") for c in made.obs["type"]]
    assert names(ax) == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64"])
def test_numbers_colour_by_a_map_with_a_bar_and_high_ones_on_top(made, dtype):
    values = np.random.default_rng(1).normal(size=made.n_obs).astype("float32")
    made.obs["score"] = pd.array(values, dtype=dtype)
    made.obs.loc["cell3", "score"] = pd.NA if dtype == "Float64" else np.nan
    made.obs.loc["cell4", "score"] = np.inf
    ax = cells(made, "score", cmap="magma", na_color="red")
    without, with_value = clouds(ax)
    np.testing.assert_array_equal(without.get_offsets(), made.obsm["X_r"][[3, 4]])
    assert to_hex(without.get_facecolor()[0]) == "#ff0000"
    order = np.argsort(values)
    order = order[~np.isin(order, [3, 4])]
    np.testing.assert_array_equal(with_value.get_array(), values[order])
    np.testing.assert_array_equal(with_value.get_offsets(), made.obsm["X_r"][order])
    assert with_value.get_cmap().name == "magma" and ax.figure.axes[-1].get_ylabel() == "score"


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_a_column_without_values_or_with_one_alone_is_drawn(made, value):
    made.obs["score"] = value
    ax = cells(made, "score", na_color="red")
    ax.figure.draw_without_rendering()
    assert (set(drawn_colors(ax, made.obsm["X_r"])) == {"#ff0000"}) == np.isnan(value)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_genes_are_read_from_x_and_layers(made, form):
    wanted = {None: made.X[:, 1].copy(), "counts": made.layers["counts"][:, 1].copy()}
    made.X, made.layers["counts"] = form(made.X), form(made.layers["counts"])
    for layer, values in wanted.items():
        ax = cells(made, "g1", layer=layer)
        np.testing.assert_allclose(clouds(ax)[0].get_array(), np.sort(values))
        assert ax.figure.axes[-1].get_ylabel() == "g1"


def test_a_column_goes_before_a_gene_of_its_name(made):
    made.obs["g1"] = -1.0
    assert set(clouds(cells(made, "g1"))[0].get_array()) == {-1.0}


def test_names_that_are_unknown_are_refused_with_what_there_is(made):
    for color, layer, message in (
        ("g9", None, r"\['g9'\] found neither.*'type'"),
        ("g1", "raw", r"'raw'.*\['counts'\]"),
    ):
        with pytest.raises(KeyError, match=message):
            cells(made, color, layer=layer)
    with pytest.raises(KeyError, match=r"\['g9'\] found neither"):
        pl.trajectories(made, cells="g9")
    with pytest.raises(KeyError, match=r"'g9' not found in adata\.obs.*'type'"):
        pl.fate(made, kind="bar", groupby="g9")
    assert plt.get_fignums() == []


def test_time_is_meant_by_its_column_and_by_time(made):
    for color in ("time", "day"):
        ax = cells(made, color)
        np.testing.assert_array_equal(clouds(ax)[0].get_array(), made.obs["day"])
        assert ax.figure.axes[-1].get_ylabel() == "day"
    made.obs["time"] = 5.0  # a column of that name is meant
    assert set(clouds(cells(made, "time"))[0].get_array()) == {5.0}


def test_without_a_colour_cells_are_grey(made):
    ax = cells(made, None, na_color="red")
    assert set(drawn_colors(ax, made.obsm["X_r"])) == {"#ff0000"}
    assert ax.get_legend() is None and len(ax.figure.axes) == 1


def test_transparent_colours_stay_transparent(made):
    found = _colors.of_categories(made, "type", ["a", "b", "c"], [(1, 0, 0, 0.5)])
    assert to_rgba(found["a"])[3] == pytest.approx(0.5, abs=1 / 255)


def test_colouring_by_time_reads_no_positions(fitted, monkeypatch):
    monkeypatch.setattr(_anndata.Representation, "read", None)  # of a fit to genes that would make all of them dense
    assert len(_colors.values_of(fitted, "time", "vgfm")) == fitted.n_obs
