"""What a fit says while it runs."""

from __future__ import annotations

import logging

import pytest
import scanpy as sc

from vgfm_sc import tl


@pytest.fixture
def verbosity():
    """scanpy's, put back afterwards."""
    before = sc.settings.verbosity
    yield lambda level: setattr(sc.settings, "verbosity", level)
    sc.settings.verbosity = before


@pytest.mark.parametrize(
    ("progress", "level", "shown"),
    [(None, "error", False), (None, "warning", True), (True, "error", True), (False, "hint", False)],
)
def test_progress_follows_scanpy_unless_told_otherwise(unfitted, small, verbosity, capfd, progress, level, shown):
    verbosity(level)
    tl.fit(unfitted, "time", copy=True, **{**small, "progress": progress})
    out, err = capfd.readouterr()
    assert not out
    assert ("matching" in err) == shown


def test_what_was_done_is_logged_and_not_printed(unfitted, small, caplog, capfd):
    with caplog.at_level(logging.INFO, logger="vgfm_sc"):
        tl.fit(unfitted, "time", copy=True, **small)
    (record,) = (r for r in caplog.records if r.name.startswith("vgfm_sc"))
    assert "867 cells at 5 time points" in record.getMessage()
    assert "obsm['vgfm_velocity_genes']" in record.getMessage()
    assert capfd.readouterr() == ("", "")


def test_a_bar_that_ends_early_is_full(unfitted, small, capfd):
    tl.fit(unfitted, "time", copy=True, **{**small, "progress": True, "fit_steps": 50, "patience": 10, "fit_lr": 1e-12})
    bar = capfd.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert "fitting: 100%" in bar and "50/50" not in bar
