from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from vgfm_sc import pl

COLORS = {"b": "#ff0000", "c": "#008000"}


def stored(adata) -> dict:
    return adata.uns["vgfm"]["perturbations"]["g0+g1"]


def lines(ax) -> LineCollection:
    """The trajectories, or the intervals."""
    (found,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return found


def test_trajectories_stand_side_by_side_on_one_scale(made):
    unchanged, changed, *_ = pl.perturb(made, show=False)
    assert unchanged.get_title() == "unchanged" and changed.get_title() == "g0 1.5 to 0, g1 0.25 to 2"
    for ax, name in ((unchanged, "positions"), (changed, "positions_changed")):
        segments = np.asarray(lines(ax).get_segments())
        np.testing.assert_allclose(segments[:, 0], stored(made)[name][:-1].reshape(-1, 2))
        mass = stored(made)[name.replace("positions", "mass")].astype(float)
        widths = np.sqrt((mass[1:] + mass[:-1]).ravel() / 2)
        np.testing.assert_allclose(lines(ax).get_linewidths(), np.minimum(widths, 4), rtol=1e-6)
    assert unchanged.get_xlim() == changed.get_xlim() and unchanged.get_ylim() == changed.get_ylim()


def test_effects_are_drawn_with_their_intervals(made):
    ax = pl.perturb(made, palette={"a": "black", **COLORS}, show=False)[2]
    table = stored(made)["table"][:3]  # energy has another unit
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "c", "mass"]
    ends = np.asarray(lines(ax).get_segments())[:, :, 0]
    np.testing.assert_allclose(ends, table[["low", "high"]])
    dots = ax.collections[-1]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], table["estimate"])
    assert [to_hex(c) for c in dots.get_facecolors()] == [*COLORS.values(), "#000000"]
    assert ax.yaxis_inverted()


def test_growth_is_drawn_as_a_difference_over_time(made):
    ax, growth = pl.perturb(made, show=False)[3], stored(made)["growth"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), growth[["time", "estimate"]])
    corners = ax.collections[0].get_paths()[0].vertices
    assert set(np.round(corners[:, 1], 6)) == set(np.round([*growth["low"], *growth["high"]], 6))
    assert ax.get_xlabel() == "day"


def test_one_of_several_is_chosen_by_name(made, unchanged):
    kept = made.uns["vgfm"]["perturbations"]
    kept["other"] = {**stored(made), "growth": stored(made)["growth"].assign(estimate=7.0)}
    assert (pl.perturb(made, name="other", show=False)[3].lines[0].get_ydata() == 7).all()
    plt.close("all")
    for name, error, message in (
        (None, ValueError, "holds 2 .*'g0.g1', 'other'"),
        ("no", KeyError, "'no' in .*'other'"),
    ):
        with unchanged(made), pytest.raises(error, match=message):
            pl.perturb(made, name=name)
    assert plt.get_fignums() == []


def test_a_screen_has_a_panel_for_each_fate_and_for_mass(made):
    axes = pl.screen(made, palette={"a": "black", **COLORS}, na_color="white", show=False)
    table = made.uns["vgfm"]["screen"]["table"]
    assert [ax.get_title() for ax in axes] == ["b", "c", "mass"]
    for ax, first, color in zip(axes, (0, 3, 6), [*COLORS.values(), "#000000"], strict=True):
        part = table[first : first + 3]
        assert [text.get_text() for text in ax.get_yticklabels()] == ["g2", "g0", "g1"]
        np.testing.assert_allclose(np.asarray(lines(ax).get_segments())[:, :, 0], part[["low", "high"]])
        shades = [to_hex(c) for c in ax.collections[-1].get_facecolors()]
        assert shades == [color, "#ffffff", color]  # that of the middle is no more than chance


def test_a_screen_of_one_effect_and_of_some_genes(made, unchanged):
    (ax,) = pl.screen(made, "energy", n_genes=2, show=False)
    assert ax.get_title() == "energy" and len(ax.get_yticklabels()) == 2
    assert [ax.get_title() for ax in pl.screen(made, "fate", show=False)] == ["b", "c"]
    plt.close("all")
    with unchanged(made), pytest.raises(ValueError, match=r"'fate', 'mass', 'energy'.*'growth'"):
        pl.screen(made, "growth")
    with pytest.raises(ValueError, match="No genes to draw: n_genes=0"):
        pl.screen(made, n_genes=0)
    assert plt.get_fignums() == []
