from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from vgfm_sc import pl

COLORS = {"a": "#ff0000", "b": "#008000", "c": "#0000ff"}


def test_there_is_a_panel_for_each_fate_with_the_probability_of_every_cell(made):
    axes = pl.fate(made, palette=COLORS, na_color="white", size=4, show=False)
    assert [ax.get_title() for ax in axes] == ["b", "c"]
    for ax, name in zip(axes, "bc", strict=True):
        (cells,) = [c for c in ax.collections if isinstance(c, PathCollection)]
        share = made.obsm["vgfm_fate"][name].to_numpy(dtype=float)
        order = np.argsort(share, kind="stable")
        np.testing.assert_array_equal(cells.get_array(), share[order])
        np.testing.assert_array_equal(cells.get_offsets(), made.obsm["X_r"][order])
        assert (cells.norm.vmin, cells.norm.vmax) == (0, 1) and set(cells.get_sizes()) == {4}
        assert [to_hex(cells.get_cmap()(end)) for end in (0.0, 1.0)] == ["#ffffff", COLORS[name]]
    assert [ax.get_ylabel() for ax in axes[0].figure.axes[2:]] == ["probability"] * 2


@pytest.mark.parametrize("groupby", [None, "batch"])
def test_bars_are_the_mean_probability_in_each_group(made, groupby):
    made.obs["batch"] = [f"batch {k % 2}" for k in range(60)]
    ax = pl.fate(made, kind="bar", groupby=groupby, palette=COLORS, show=False)
    groups = made.obs[groupby or "type"].astype(str)
    wanted = made.obsm["vgfm_fate"].groupby(groups.to_numpy()).mean()
    widths = np.array([patch.get_width() for patch in ax.patches]).reshape(2, -1)
    np.testing.assert_allclose(widths.T, wanted, rtol=1e-6)
    lefts = np.array([patch.get_x() for patch in ax.patches]).reshape(2, -1)
    np.testing.assert_allclose(lefts, [np.zeros(len(wanted)), wanted["b"]], rtol=1e-6)
    np.testing.assert_allclose(widths.sum(axis=0), 1, rtol=1e-6)
    assert [text.get_text() for text in ax.get_yticklabels()] == wanted.index.tolist()
    assert {to_hex(patch.get_facecolor()) for patch in ax.patches} == {COLORS["b"], COLORS["c"]}
    assert ax.get_ylabel() == (groupby or "type") and ax.get_xlim() == (0, 1) and ax.yaxis_inverted()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "c"]


def test_bars_can_be_drawn_into_given_axes_and_named(made):
    fig, axes = plt.subplots(ncols=2)
    assert pl.fate(made, kind="bar", ax=axes[1], title="mine") is axes[1]
    assert axes[1].get_title() == "mine" and not axes[0].has_data()
    assert pl.fate(made, kind="bar", return_fig=True) is not fig
    assert not pl.fate(made, kind="bar", frameon=False, show=False).spines["top"].get_visible()


def test_cells_without_a_group_are_in_no_bar(made):
    made.obs["type"] = made.obs["type"].where(np.arange(60) % 2 > 0)
    ax = pl.fate(made, kind="bar", show=False)
    wanted = made.obsm["vgfm_fate"][made.obs["type"].notna()].groupby(made.obs["type"].dropna(), observed=True).mean()
    np.testing.assert_allclose([patch.get_width() for patch in ax.patches[:3]], wanted["b"], rtol=1e-6)


def test_fates_have_the_colours_of_their_type_in_other_plots(made):
    shades = {}
    for ax in (pl.velocity(made, color="type", show=False), pl.fate(made, kind="bar", show=False)):
        legend = ax.get_legend()
        names = [text.get_text() for text in legend.get_texts()]
        shades[tuple(names)] = dict(zip(names, [handle.get_color() for handle in legend.legend_handles], strict=True))
    assert shades["b", "c"].items() <= shades["a", "b", "c"].items()


def test_fates_are_named_as_the_clusters_and_not_as_columns_can_be(made):
    made.obs["type"] = made.obs["type"].cat.rename_categories({"b": "b/x"})
    made.obsm["vgfm_fate"].columns = ["b_x", "c"]
    made.uns["vgfm"]["fate"]["clusters"] = np.array(["b/x", "c"])
    palette = {"a": "#ff0000", "b/x": "#008000", "c": "#0000ff"}
    assert [ax.get_title() for ax in pl.fate(made, palette=palette, show=False)] == ["b/x", "c"]
    lines = pl.trajectories(made, color="fate", cells=False, palette=palette, show=False).get_legend()
    for legend in (lines, pl.fate(made, kind="bar", palette=palette, show=False).get_legend()):
        assert [text.get_text() for text in legend.get_texts()] == ["b/x", "c"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "pie"}, ValueError, r"\['embedding', 'bar'\], got 'pie'"),
        ({"kind": "bar", "groupby": "day"}, TypeError, r"obs\['day'\] holds numbers.*astype\('category'\)"),
        ({"kind": "bar", "groupby": "batch"}, KeyError, r"'batch' not found in adata\.obs.*'type'"),
        ({"palette": {"b": "red"}}, KeyError, r"palette has no colour for \['c'\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(made, unchanged, arguments, error, message):
    with unchanged(made), pytest.raises(error, match=message):
        pl.fate(made, **arguments)
    assert plt.get_fignums() == []
