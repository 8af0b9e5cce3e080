"""Agreement with clones, drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from vgfm_sc import pl

TITLES = ["descendants", "calibration of fates", "fates of clones", "growth of clones"]


def scores(adata) -> dict:
    return adata.uns["vgfm"]["clones"]


def offsets(ax) -> list[np.ndarray]:
    """Places of the dots: first those of shuffled clones."""
    return [np.asarray(dots.get_offsets()) for dots in ax.collections]


def test_bars_are_the_auroc_of_each_interval_beside_that_of_shuffled_clones(made):
    ax = pl.clones(made, show=False)[0]
    table = scores(made)["table"].query("of == 'descendants'")
    found, shuffled = ([bar.get_height() for bar in bars] for bars in ax.containers if hasattr(bars, "patches"))
    assert found == table["value"].tolist() and shuffled == table["shuffled"].tolist()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0 to 1", "1 to 3"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["clones", "shuffled clones"]
    assert [0.5, 0.5] in [list(line.get_ydata()) for line in ax.lines]


def test_calibration_is_drawn_with_the_numbers_of_cells(made):
    fig = pl.clones(made, palette={"b": "red", "c": "blue"}, return_fig=True)
    ax = fig.axes[1]
    bins = scores(made)["calibration"]
    drawn = [line for line in ax.lines if line.get_linestyle() == "-"]
    for line, (name, color) in zip(drawn, {"b": "red", "c": "blue"}.items(), strict=True):
        part = bins[bins["cluster"] == name]
        np.testing.assert_array_equal(line.get_xydata(), part[["predicted", "observed"]])
        assert to_hex(line.get_color()) == to_hex(color)
    shuffled = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert len(shuffled) == 2 and all((line.get_ydata() == 0.5).all() for line in shuffled)
    (counts,) = [other for other in fig.axes if other.get_ylabel() == "cells"]
    assert [[bar.get_height() for bar in bars] for bars in counts.containers] == [[10, 10], [4, 4]]
    edges = np.array([[(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars] for bars in counts.containers])
    assert (edges[0, 0] < 0.1).all() and (edges[0, 1] > 0.9).all()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "c"]


def test_dots_are_clones_and_grow_with_their_cells(made):
    _, _, fates, growth = pl.clones(made, show=False)
    kept = scores(made)
    shuffled, found = offsets(fates)
    np.testing.assert_array_equal(found, kept["fates"][["predicted", "observed"]])
    np.testing.assert_array_equal(shuffled, kept["fates"][["shuffled", "observed"]])
    shuffled, *found = offsets(growth)
    np.testing.assert_array_equal(np.concatenate(found), kept["growth"][["predicted", "observed"]])
    np.testing.assert_array_equal(shuffled, kept["growth"][["shuffled", "observed"]])
    sizes = np.concatenate([dots.get_sizes() for dots in growth.collections[1:]])
    np.testing.assert_array_equal(np.argsort(sizes, kind="stable"), [0, 1, 2, 3, 4, 5])
    names = [text.get_text() for text in growth.get_legend().get_texts()]
    assert names == ["shuffled clones", "0 to 1", "1 to 3"]


def test_a_clone_of_many_cells_does_not_hide_the_small_ones(made):
    scores(made)["growth"]["n_cells"] = [1, 1, 1, 1, 1, 10_000]
    sizes = np.concatenate([dots.get_sizes() for dots in pl.clones(made, show=False)[3].collections[1:]])
    assert sizes.max() / sizes.min() == pytest.approx(10)


@pytest.mark.parametrize(
    ("gone", "titles"),
    [(["fates", "calibration"], [TITLES[0], TITLES[3]]), (["growth"], TITLES[:3]), (["table"], TITLES[1:])],
)
def test_what_could_not_be_compared_has_no_panel(made, gone, titles):
    for name in gone:
        if name == "table":
            scores(made)["table"] = scores(made)["table"].query("of == 'fates'")
        else:
            del scores(made)[name]
    assert [ax.get_title() for ax in pl.clones(made, show=False)] == titles


def test_without_any_score_there_is_nothing_to_draw(made):
    made.uns["vgfm"]["clones"] = {"table": pd.DataFrame({"of": ["barcodes"], "score": ["without"]})}
    with pytest.raises(ValueError, match="no clone was seen at two neighbouring time points"):
        pl.clones(made)


def test_fates_keep_their_colours_where_others_are_drawn_now(made):
    """The fates may have been computed again, for another column, since clones were compared."""
    del made.uns["vgfm"]["fate"]
    assert len(pl.clones(made, show=False)) == 4
