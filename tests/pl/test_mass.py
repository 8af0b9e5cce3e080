from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from vgfm_sc import pl

COUNTS = [10, 20, 30]
COLORS = {"a": "#ff0000", "b": "#008000", "c": "#0000ff"}


def stored(adata) -> dict:
    return adata.uns["vgfm"]["trajectories"]


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """Points of each line by its name."""
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in ax.lines}


def heights(ax: Axes, times: np.ndarray) -> np.ndarray:
    """Of the areas at ``times``, shape ``(n_areas, n_times)``."""
    found = []
    for area in ax.collections:
        corners = area.get_paths()[0].vertices
        found.append([np.ptp(corners[corners[:, 0] == time, 1]) for time in times])
    return np.asarray(found)


def bars(ax: Axes) -> pd.DataFrame:
    """Time, bottom, height and colour of each bar."""
    found = [(p.get_x() + p.get_width() / 2, p.get_y(), p.get_height(), to_hex(p.get_facecolor())) for p in ax.patches]
    return pd.DataFrame(found, columns=["time", "low", "height", "color"])


def test_the_line_is_mean_mass_times_the_observed_mass_of_the_start(made):
    ax = pl.mass(made, show=False)
    found = lines(ax)
    wanted = np.column_stack([stored(made)["times"], 10 * stored(made)["mean_mass"]])
    np.testing.assert_allclose(found["predicted"], wanted)
    np.testing.assert_array_equal(found["observed"], [[0, 10], [1, 20], [3, 30]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("day", "mass (cells)") and ax.get_ylim()[0] == 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["predicted", "observed"]


def test_totals_that_were_given_count_in_place_of_cells(made):
    made.uns["vgfm"]["params"]["totals"] = np.array([100.0, 400.0, 500.0])
    found = lines(pl.mass(made, show=False))
    np.testing.assert_allclose(found["predicted"][:, 1], 100 * stored(made)["mean_mass"])
    np.testing.assert_array_equal(found["observed"], [[0, 100], [1, 400], [3, 500]])


def test_only_time_points_that_are_passed_through_are_observed(made):
    stored(made)["times"] = np.array([1.0, 1.5, 2.0, 2.5, 2.75])
    found = lines(pl.mass(made, show=False))
    np.testing.assert_allclose(found["predicted"][:, 1], 20 * stored(made)["mean_mass"])
    np.testing.assert_array_equal(found["observed"], [[1, 20]])


def test_backward_the_prediction_starts_from_the_later_time_point(made):
    stored(made)["times"] = stored(made)["times"][::-1]
    found = lines(pl.mass(made, show=False))
    np.testing.assert_allclose(found["predicted"], np.column_stack([[3, 2, 1, 0.5, 0], 30 * stored(made)["mean_mass"]]))
    assert len(found["observed"]) == 3
    forward = heights(pl.mass(made, "type", show=False), np.sort(stored(made)["times"]))
    np.testing.assert_allclose(forward.sum(axis=0), 30 * stored(made)["mean_mass"][::-1], rtol=1e-5)


def test_of_some_cells_of_the_start_there_is_nothing_to_observe(made):
    """What became of them cannot be told from what became of the others."""
    stored(made)["share"] = 0.3
    found = lines(pl.mass(made, show=False))
    np.testing.assert_allclose(found["predicted"][:, 1], 3 * stored(made)["mean_mass"])
    assert set(found) == {"predicted"}
    assert not pl.mass(made, "type", show=False).patches


def test_a_time_point_dropped_since_is_not_observed(made):
    few = made[made.obs["day"] != 1].copy()
    for totals in (None, np.array([100.0, 400.0, 500.0])):
        if totals is not None:
            few.uns["vgfm"]["params"]["totals"] = totals
        assert lines(pl.mass(few, show=False))["observed"][:, 0].tolist() == [0, 3]
        assert set(bars(pl.mass(few, "type", show=False))["time"]) == {0, 3}


def test_without_cells_of_the_start_there_is_no_mass(made, unchanged):
    few = made[made.obs["day"] != 0].copy()
    for color in (None, "type"):
        with unchanged(few), pytest.raises(ValueError, match="start at 0, of which no cells are left"):
            pl.mass(few, color)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("branching", [False, True])
def test_areas_are_the_shares_of_the_types_and_add_up_to_the_total(made, branching):
    mass, codes = stored(made)["mass"], stored(made)["labels"]["type"]["codes"]
    if branching:  # alive or not
        mass[:] = np.random.default_rng(0).integers(0, 2, mass.shape)
    times, total = stored(made)["times"], 10 * stored(made)["mean_mass"]
    ax = pl.mass(made, "type", palette=COLORS, show=False)
    found = heights(ax, times)
    wanted = [total * (mass * (codes == k)).sum(axis=1) / mass.sum(axis=1) for k in range(3)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=0), total, rtol=1e-5)
    assert [to_hex(area.get_facecolor()[0]) for area in ax.collections] == list(COLORS.values())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]


def test_where_all_have_died_areas_end(made):
    stored(made)["mass"][-2:] = stored(made)["mean_mass"][-2:] = 0
    ax = pl.mass(made, "type", show=False)
    np.testing.assert_array_equal(heights(ax, [2.0, 3.0]), 0)


def test_bars_are_the_observed_types_on_top_of_each_other(made):
    found = bars(pl.mass(made, "type", palette=COLORS, show=False))
    for time, total in zip((0, 1, 3), COUNTS, strict=True):
        of_time = found[found["time"] == time]
        counts = made.obs["type"][made.obs["day"] == time].value_counts()
        np.testing.assert_allclose(of_time["height"], [counts[name] for name in "abc"])
        np.testing.assert_allclose(of_time["low"], np.cumsum([0, *of_time["height"][:-1]]))
        assert of_time["height"].sum() == pytest.approx(total)
        assert of_time["color"].tolist() == list(COLORS.values())


def test_bars_of_given_totals_have_the_shares_of_the_cells(made):
    made.uns["vgfm"]["params"]["totals"] = np.array([100.0, 400.0, 500.0])
    found = bars(pl.mass(made, "type", show=False)).groupby("time")["height"]
    np.testing.assert_allclose(found.sum(), [100, 400, 500])
    share = (made.obs["type"][made.obs["day"] == 1] == "a").mean()
    np.testing.assert_allclose(found.first()[1.0], 400 * share)


def test_cells_without_a_label_count_as_those_with_one(made):
    """As in the areas; where no cell has one, there is nothing to tell."""
    unknown = (made.obs["day"] == 3) | ((made.obs["day"] == 1) & (made.obs["type"] == "c"))
    made.obs["type"] = made.obs["type"].where(~unknown)
    found = bars(pl.mass(made, "type", show=False)).groupby("time")["height"].sum()
    np.testing.assert_allclose(found, [10, 20, 0])


def test_what_simulate_writes_meets_the_observed_totals(written):
    """Cells followed are 7 of 120 or so, but the mean mass is that of all, and training makes totals right."""
    found = lines(pl.mass(written, show=False))
    observed = found["observed"]
    at = [int(np.flatnonzero(found["predicted"][:, 0] == time)[0]) for time in observed[:, 0]]
    assert len(observed) == 5
    np.testing.assert_allclose(found["predicted"][at, 1], observed[:, 1], rtol=2e-3)
    areas = heights(pl.mass(written, "type", show=False), found["predicted"][:, 0])
    np.testing.assert_allclose(areas.sum(axis=0), found["predicted"][:, 1], rtol=1e-5)


def test_what_simulate_writes_backward_starts_from_the_observed_total(written):
    from vgfm_sc import tl

    adata = written.copy()
    tl.simulate(adata, n_cells=3, start=4.0, times=[2.0, 0.0])
    found = lines(pl.mass(adata, show=False))
    assert found["predicted"][:, 0].tolist() == [4, 2, 0] and found["observed"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert found["predicted"][0, 1] == found["observed"][-1, 1]
