from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from vgfm_sc import pl

# times left out


def heights(ax) -> np.ndarray:
    """Of the bars of each prediction, shape ``(n_predictions, n_times)``."""
    return np.array([[bar.get_height() for bar in container] for container in ax.containers])


def test_bars_are_the_energy_distance_of_each_prediction_at_each_time(made):
    palette = {"vgfm": "red", "otcfm": "green", "linear": "blue"}
    ax = pl.holdout(made, palette=palette, show=False)
    np.testing.assert_array_equal(heights(ax), [[-0.5, 0.5], [1, 1.5], [2, 2.5]])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(palette)
    assert [to_hex(container[0].get_facecolor()) for container in ax.containers] == [*map(to_hex, palette.values())]
    assert ax.get_xlabel() == "time left out" and ax.get_ylabel().startswith("energy distance")
    (zero,) = ax.lines  # some bars hang from it
    assert set(zero.get_ydata()) == {0}


@pytest.mark.parametrize(
    ("score", "label", "line"), [("energy", "energy", [0]), ("spread", "spread", [1]), ("w1", "W1", [])]
)
def test_the_score_that_is_named_is_drawn(made, score, label, line):
    ax = pl.holdout(made, score=score, show=False)
    table = made.uns["vgfm_holdout"]["scores"]
    np.testing.assert_array_equal(heights(ax).T.ravel(), table[score])
    assert ax.get_ylabel().startswith(label)
    assert [y for drawn in ax.lines for y in set(drawn.get_ydata())] == line


def test_an_unknown_score_is_refused(made):
    with pytest.raises(ValueError, match=r"score must be one of \['energy', 'spread', 'w1'\], got 'rme'"):
        pl.holdout(made, score="rme")


def test_scores_of_an_earlier_version_are_drawn_by_w1_and_have_no_other(made):
    scores = made.uns["vgfm_holdout"]["scores"].drop(columns=["energy", "spread"])
    made.uns["vgfm_holdout"]["scores"] = scores
    ax = pl.holdout(made, show=False)
    np.testing.assert_array_equal(heights(ax).T.ravel(), scores["w1"])
    assert ax.get_ylabel().startswith("W1")
    with pytest.raises(KeyError, match=r"lack 'energy'.*they have \['w1'\].*score=.*vgfm_sc\.tl\.holdout\("):
        pl.holdout(made, score="energy")


def test_bars_of_a_time_stand_side_by_side_around_its_tick(made):
    ax = pl.holdout(made, show=False)
    edges = np.array([[(bar.get_x(), bar.get_x() + bar.get_width()) for bar in c] for c in ax.containers])
    assert (edges[1:, :, 0] >= edges[:-1, :, 1]).all()
    np.testing.assert_allclose(edges.mean(axis=(0, 2)), ax.get_xticks())


def test_rows_in_any_order_and_predictions_of_some_times_are_drawn(made):
    table = made.uns["vgfm_holdout"]["scores"]
    made.uns["vgfm_holdout"]["scores"] = table.drop(index="5").iloc[::-1].astype({"prediction": "category"})
    ax = pl.holdout(made, show=False)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    found = dict(zip(names, heights(ax), strict=True))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "1"]
    np.testing.assert_array_equal(found["vgfm"], [0.5, -0.5])
    np.testing.assert_array_equal(found["linear"], [np.nan, 2])


def test_an_entry_that_is_not_ours_is_not_drawn(made):
    made.uns["vgfm_holdout"] = {"scores": pd.DataFrame()}
    with pytest.raises(KeyError, match=r"uns\['vgfm_holdout'\].*vgfm_sc\.tl\.holdout\(adata, time_key=\.\.\.\)"):
        pl.holdout(made)


@pytest.mark.parametrize(("title", "shown"), [(None, "chosen: vgfm"), ("mine", "mine"), ("", "")])
def test_the_title_names_what_was_chosen_unless_it_is_given(made, title, shown):
    assert pl.holdout(made, show=False).get_title() == ""
    made.uns["vgfm_holdout"]["chosen"] = "vgfm"
    assert pl.holdout(made, title=title, show=False).get_title() == shown


def test_scores_under_other_keys_are_named(made):
    made.uns["choice_holdout"] = made.uns.pop("vgfm_holdout")
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.holdout\(.*Scores present: key=\['choice'\]"):
        pl.holdout(made)


# losses


def history(adata) -> dict:
    return adata.uns["vgfm"]["history"]


def test_losses_are_drawn_by_step_beside_the_judgement(made):
    matching, fitting, judgement = pl.loss(made, show=False)
    assert [ax.get_title() for ax in (matching, fitting, judgement)] == ["matching", "fitting", "judgement"]
    for line, name in zip(matching.lines, ("velocity", "growth"), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 7))
        np.testing.assert_allclose(line.get_ydata(), history(made)["matching"][name])
    assert matching.get_yscale() == "log"
    assert [text.get_text() for text in matching.get_legend().get_texts()] == ["velocity", "growth"]
    np.testing.assert_array_equal(fitting.lines[0].get_xydata(), [[1, 0.2], [2, -0.1]])  # it may be below 0
    assert fitting.get_yscale() == "linear"
    scores, before = judgement.lines
    np.testing.assert_array_equal(scores.get_xydata(), [[0, 0.3], [2, 0.2]])
    assert set(before.get_ydata()) == {0.3} and [text.get_text() for text in judgement.texts] == ["after matching"]


@pytest.mark.parametrize(("gone", "titles"), [("fitting", ["matching"]), ("matching", ["fitting", "judgement"])])
def test_a_stage_that_was_left_out_has_no_panel(made, gone, titles):
    del history(made)[gone]
    assert [ax.get_title() for ax in pl.loss(made, show=False)] == titles


def test_a_stage_that_took_no_step_has_no_panel(made):
    history(made)["fitting"] |= {"loss": np.array([]), "check_step": np.array([0]), "score": np.array([0.3])}
    assert [ax.get_title() for ax in pl.loss(made, show=False)] == ["matching"]


def test_growth_that_is_not_trained_is_not_drawn(made):
    """As with balanced transport."""
    history(made)["matching"]["growth"][:] = 0
    (line,) = pl.loss(made, show=False)[0].lines
    assert line.get_label() == "velocity"


def test_without_either_stage_there_is_nothing_to_draw(made):
    made.uns["vgfm"]["history"] = {}
    with pytest.raises(ValueError, match="both of its stages were left out"):
        pl.loss(made)


def test_what_fit_writes_without_its_second_stage_is_drawn(unfitted, small):
    pytest.importorskip("torch")
    from vgfm_sc import tl

    adata = tl.fit(unfitted[::12].copy(), "time", copy=True, **{**small, "match_steps": 2, "fit_steps": 0})
    assert [ax.get_title() for ax in pl.loss(adata, show=False)] == ["matching"]


@pytest.mark.parametrize("last", [0.1, 0.5])
def test_the_name_of_the_first_score_stands_within_the_axes(made, last):
    made.uns["vgfm"]["history"]["fitting"]["score"] = np.array([0.3, last])
    fig = pl.loss(made, return_fig=True)
    fig.draw_without_rendering()
    (text,) = fig.axes[2].texts
    box, frame = text.get_window_extent(), fig.axes[2].get_window_extent()
    assert frame.y0 <= box.y0 and box.y1 <= frame.y1
