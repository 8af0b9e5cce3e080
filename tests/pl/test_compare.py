from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from vgfm_sc import pl


def stored(adata) -> dict:
    return adata.uns["vgfm"]["comparison"]


def test_cells_have_the_difference_of_growth_and_those_not_compared_none(made):
    ax = pl.compare(made, na_color="black", show=False)[0]
    off = made.obs["vgfm_growth_difference"].to_numpy(float)
    without, with_one = ax.collections[:2]
    assert len(without.get_offsets()) == np.isnan(off).sum() == 10
    np.testing.assert_allclose(with_one.get_array(), off[~np.isnan(off)])
    assert with_one.norm.vmin == -with_one.norm.vmax and ax.get_title() == "treated less control"


@pytest.mark.parametrize(("place", "effect", "names"), [(1, "growth", "abc"), (2, "fate", "bc")])
def test_clusters_and_fates_have_intervals_in_their_colours(made, place, effect, names):
    colors = {"a": "#000000", "b": "#ff0000", "c": "#008000"}
    ax = pl.compare(made, palette=colors, show=False)[place]
    table = stored(made)["table"].query("effect == @effect")
    assert [text.get_text() for text in ax.get_yticklabels()] == list(names)
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    np.testing.assert_allclose(np.asarray(lines.get_segments())[:, :, 0], table[["low", "high"]])
    assert [to_hex(c) for c in ax.collections[-1].get_facecolors()] == [colors[name] for name in names]


def test_mass_is_a_line_with_its_interval(made):
    ax, mass = pl.compare(made, show=False)[-1], stored(made)["mass"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), mass[["time", "estimate"]])
    corners = ax.collections[0].get_paths()[0].vertices
    assert set(np.round(corners[:, 1], 6)) == set(np.round([*mass["low"], *mass["high"]], 6))
    assert ax.get_ylabel() == "log ratio, treated over control"


def test_without_clusters_there_are_no_fates(made):
    table = stored(made)["table"].query("effect == 'mass'")
    del stored(made)["cluster_key"]
    stored(made)["table"] = table.assign(effect=["growth"])
    axes = pl.compare(made, show=False)
    assert len(axes) == 3 and [text.get_text() for text in axes[1].get_yticklabels()] == ["all cells"]


def test_one_model_has_no_intervals_to_draw(made, tmp_path):
    for name in ("table", "mass"):
        stored(made)[name] = stored(made)[name].assign(low=np.nan, high=np.nan)
    fig = pl.compare(made, return_fig=True)
    fig.savefig(tmp_path / "a.png")
