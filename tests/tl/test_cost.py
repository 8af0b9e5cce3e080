"""What a fit says beforehand, and beside its bars, that it will take."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from vgfm_sc import tl
from vgfm_sc.core.cost import probe
from vgfm_sc.core.cost.estimate import Cost
from vgfm_sc.tl import _progress

HOURS = Cost([[3000.0, 600.0]], 1800.0, 7200.0, 3e9)


def test_small_fits_are_not_probed(monkeypatch, unfitted, small):
    monkeypatch.setattr(probe, "measured", lambda *_: pytest.fail("probed"))
    tl.fit(unfitted, "time", copy=True, **{**small, "progress": True})


def test_nothing_is_estimated_for_nobody(monkeypatch, unfitted, small, capfd):
    monkeypatch.setattr(probe, "foreseen", lambda *_: pytest.fail("estimated"))
    tl.fit(unfitted, "time", copy=True, **small)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("of_model", "n_models", "said"),
    [
        (HOURS, 1, "about 3.5 h and 3.0 GB beside the data: coupling 60 min, matching 30 min, fitting up to 2.0 h"),
        (
            HOURS,
            4,
            "about 14 h and 3.0 GB beside the data: coupling 60 min, matching 30 min, fitting up to 2.0 h, for each",
        ),
        (HOURS, 4, "4 models; about 6.0 h in all if no fitting is needed"),
        (Cost([[1.0]], 20.0, 20.0, 2.5e9), 1, "about 41 s and 2.5 GB"),
        (Cost([[1.0]], 20.0, 20.0, 1e8), 2, "about 82 s and 0.1 GB"),
        (Cost([[1.0]], 20.0, 20.0, 1e8), 1, None),
    ],
)
def test_a_long_fit_says_beforehand_what_it_takes(caplog, of_model, n_models, said):
    with caplog.at_level(logging.INFO, logger="vgfm_sc"):
        _progress.tell(of_model, n_models, "cpu")
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == (said is not None) and all(said in line for line in found)


def test_a_fit_tells_it_and_is_none_the_worse(monkeypatch, unfitted, fitted, small, caplog, capfd):
    monkeypatch.setattr(probe, "SHORT", 0.0)
    monkeypatch.setattr(_progress, "LONG", 0.0)
    with caplog.at_level(logging.INFO, logger="vgfm_sc"):
        again = tl.fit(unfitted, "time", copy=True, **{**small, "progress": True})
    first, last = (record.getMessage() for record in caplog.records if record.name.startswith("vgfm_sc"))
    assert "will take about" in first and "fitted 867 cells" in last
    err = capfd.readouterr().err
    assert all(f"{stage}: " in err for stage in ("coupling", "matching", "fitting")) and "whole fit 00:" in err
    np.testing.assert_array_equal(again.obsm["vgfm_velocity_genes"], fitted.obsm["vgfm_velocity_genes"])


# what is left, told by bars that are asked directly


def left(bar, n, elapsed):
    bar.n = n
    return bar._left(bar, elapsed)


@pytest.fixture
def progress(capfd):
    return _progress.Progress(Cost([[10.0, 30.0]], 100.0, 200.0, 0.0), 1)


def test_what_is_left_counts_down_before_there_is_a_pace(progress):
    with progress.bar("coupling", 2) as bar:
        assert left(bar, 0, 0.0) == pytest.approx(340)
        assert left(bar, 0, 6.0) == pytest.approx(334)
        assert left(bar, 0, 90.0) == pytest.approx(300)  # overdue: the later stages are still to come


def test_a_stage_is_done_at_its_measured_pace_and_others_as_estimated(progress):
    with progress.bar("coupling", 2) as bar:  # the first is a quarter of the work
        assert left(bar, 1, 20.0) == pytest.approx(30 * (20 + 2) / (10 + 2) + 300)
        assert left(bar, 1, 25.0) == pytest.approx(30 * (20 + 2) / (10 + 2) - 5 + 300)
    with progress.bar("matching", 1000) as bar:
        assert left(bar, 500, 25.0) == pytest.approx(50 * 30 / 55 + 200)
    with progress.bar("fitting", 20) as bar:
        assert left(bar, 20, 300.0) == 0


def test_a_stage_that_ends_before_its_first_step_takes_no_time(progress):
    with progress.bar("fitting", 20) as bar:
        assert left(bar, 0, 1.0) > 0
        bar.total = 0
        assert left(bar, 0, 1.0) == 0


def test_a_stage_taken_up_within_does_not_count_what_was_done_before(progress):
    with progress.bar("matching", 1000) as bar:  # couplings were found
        bar.initial = 800
        assert left(bar, 900, 10.0) == pytest.approx(10 + 200)


def shown(bar):
    return bar.format_dict.get("postfix")


def test_before_fitting_bars_tell_what_is_left_with_it_and_without(progress):
    """Whether it is needed nobody knows: on many data sets it is not."""
    with progress.bar("coupling", 2) as bar:
        assert shown(bar) == "whole fit 02:20 left, 05:40 if fitting is needed"
    with progress.bar("matching", 1000) as bar:
        assert shown(bar) == "whole fit 01:40 left, 05:00 if fitting is needed"
    with progress.bar("fitting", 20) as bar:
        assert shown(bar) == "whole fit 03:20 left"


def test_models_to_come_are_expected_to_need_no_fitting_either(capfd):
    progress = _progress.Progress(Cost([[10.0]], 100.0, 200.0, 0.0), 2)
    with progress.bar("fitting", 20) as bar:
        assert left(bar, 0, 0.0) == pytest.approx(200 + 310)
        bar.total = 0
        assert left(bar, 0, 1.0) == pytest.approx(111)


def test_models_to_come_are_expected_at_the_pace_of_those_before(capfd):
    progress = _progress.Progress(Cost([[10.0], [10.0]], 100.0, 0.0, 0.0), 2)
    for condition in range(2):
        with progress.bar("coupling", 1) as bar:
            assert left(bar, 1, 0.01) == pytest.approx(100 * 2 + 20 + (1 - condition) * 10, rel=0.01)  # read from disk
    with progress.bar("matching", 10) as bar:
        assert left(bar, 10, 300.0) == pytest.approx(20 + 100 * 305 / 105)


def test_without_an_estimate_bars_are_as_before(capfd):
    with _progress.Progress(None, 1).bar("matching", 10) as bar:
        assert left(bar, 5, 1.0) is None
    assert "whole fit" not in capfd.readouterr().err
