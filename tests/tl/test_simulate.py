from __future__ import annotations

import numpy as np
import pytest

from vgfm_sc import get, tl


def run(fitted, **arguments) -> tuple[dict, object]:
    adata = fitted.copy()
    assert tl.simulate(adata, **arguments) is None
    return adata.uns["vgfm"]["trajectories"], adata


def at(fitted, time) -> np.ndarray:
    return np.flatnonzero(fitted.obs["time"] == time)


def test_all_cells_of_the_first_time_are_followed_with_mass_1_at_the_start(fitted):
    stored, adata = run(fitted, n_cells=None)
    cells = at(fitted, 0)
    assert stored["cells"].tolist() == fitted.obs_names[cells].tolist()
    assert stored["positions"].shape == (len(stored["times"]), len(cells), 2)
    assert stored["positions"].dtype == stored["mass"].dtype == np.float32
    np.testing.assert_allclose(stored["positions"][0], fitted.obsm["X_genes"][cells], atol=1e-5)
    assert (stored["mass"][0] == 1).all() and (stored["mass"] > 0).all()
    assert adata.uns["vgfm"].keys() - {"trajectories"} == fitted.uns["vgfm"].keys()


def test_default_times_go_from_the_start_through_every_time_point_to_the_last(fitted):
    times = run(fitted)[0]["times"]
    assert (np.diff(times) > 0).all() and len(times) == 81
    assert {0.0, 1.0, 2.0, 3.0, 4.0} <= set(times)
    assert run(fitted, start=2)[0]["times"][[0, -1]].tolist() == [2, 4]


def test_named_times_are_kept_with_the_start_in_front(fitted):
    assert run(fitted, times=[1.5, 3.0])[0]["times"].tolist() == [0, 1.5, 3]
    assert run(fitted, times=[0.0, 1.5])[0]["times"].tolist() == [0, 1.5]
    assert run(fitted, start=3.0, times=[0.5])[0]["times"].tolist() == [3, 0.5]


def test_times_kept_do_not_change_the_flow(fitted):
    few, many = run(fitted, times=[4.0])[0], run(fitted, times=np.linspace(0, 4, 33))[0]
    np.testing.assert_allclose(few["positions"][-1], many["positions"][-1], atol=1e-3)
    np.testing.assert_allclose(few["mass"][-1], many["mass"][-1], rtol=1e-3)


def test_velocity_and_growth_are_the_slopes_of_position_and_log_mass(fitted):
    stored, adata = run(fitted, n_cells=20, times=[0.01])
    v, g = get.model(adata)(0.005, stored["positions"].mean(axis=0))
    np.testing.assert_allclose(np.diff(stored["positions"], axis=0)[0] / 0.01, v, rtol=0.01, atol=1e-3)
    np.testing.assert_allclose(np.diff(np.log(stored["mass"]), axis=0)[0] / 0.01, g, rtol=0.01, atol=1e-3)


def test_backward_from_the_last_time_and_forward_again_returns_to_the_cells(fitted):
    stored, adata = run(fitted, n_cells=None, start=4.0, times=[2.0, 0.0])
    cells = fitted.obsm["X_genes"][at(fitted, 4)]
    np.testing.assert_allclose(stored["positions"][0], cells, atol=1e-5)
    back, mass = get.model(adata).simulate(stored["positions"][-1], [0.0, 4.0], tol=1e-5)
    np.testing.assert_allclose(back[-1], cells, atol=0.02)
    np.testing.assert_allclose(mass[-1] * stored["mass"][-1], 1, rtol=0.02)


@pytest.mark.parametrize("form", [list, np.asarray, lambda cells: np.isin(np.arange(867), cells), "series"])
def test_start_may_be_positions_or_a_mask(fitted, form):
    chosen = at(fitted, 1)[[2, 5, 7]]
    start = fitted.obs_names.isin(fitted.obs_names[chosen]) if form == "series" else form(chosen)
    stored = run(fitted, start=start, times=[2.0])[0]
    assert stored["cells"].tolist() == fitted.obs_names[chosen].tolist()
    assert stored["times"][0] == 1


def test_n_cells_draws_that_many_reproducibly(fitted):
    first, again, other = (run(fitted, n_cells=9, seed=seed, times=[1.0])[0] for seed in (0, 0, 1))
    assert len(set(first["cells"])) == 9
    assert first["cells"].tolist() == again["cells"].tolist() != other["cells"].tolist()
    np.testing.assert_array_equal(first["positions"], again["positions"])
    assert len(run(fitted, n_cells=10_000, times=[1.0])[0]["cells"]) == 120


def test_global_random_state_stays(fitted, same_random_state):
    run(fitted, n_cells=9, times=[1.0])


def test_a_second_run_replaces_the_first(fitted):
    adata = run(fitted, n_cells=9)[1]
    tl.simulate(adata, n_cells=3, times=[1.0])
    assert adata.uns["vgfm"]["trajectories"]["mass"].shape == (2, 3)


def test_other_copies_of_the_fit_are_not_touched(fitted, unchanged):
    with unchanged(fitted):
        run(fitted, n_cells=3, times=[1.0])


def test_cells_of_one_time_point_are_enough(fitted):
    stored = run(fitted[fitted.obs["time"] == 2], n_cells=3, start=2.0, times=[3.0])[0]
    assert stored["mass"].shape == (2, 3)


def test_simulating_on_a_view_warns_and_the_view_gets_the_result(fitted, unchanged):
    view = fitted[fitted.obs["branch"] == "active"]
    with unchanged(fitted), pytest.warns(UserWarning, match="view") as caught:
        tl.simulate(view, n_cells=3, times=[1.0])
    assert get.trajectories(view).shape[0] == 6
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": "other"}, KeyError, r"vgfm_sc\.tl\.fit.*key=\['vgfm'\]"),
        ({"start": 0.5}, ValueError, r"No cells at time 0.5.*\[0.0, 1.0, 2.0, 3.0, 4.0\]"),
        ({"start": 4.0}, ValueError, "backward"),
        ({"start": [0, 500]}, ValueError, "several time points"),
        ({"start": [0, 5000]}, ValueError, "start must be"),
        ({"start": [-1]}, ValueError, "start must be"),
        ({"start": []}, ValueError, "start must be"),
        ({"start": np.ones(5, dtype=bool)}, ValueError, "boolean mask of 867 cells"),
        ({"start": np.zeros(867, dtype=bool)}, ValueError, "start is a mask that selects none of the 867"),
        ({"start": ["cell1", "cell2"]}, ValueError, "start must be"),
        ({"times": [2.0, 1.0]}, ValueError, "one direction"),
        ({"times": [1.0, 1.0]}, ValueError, "one direction"),
        ({"times": []}, ValueError, "times must lead away"),
        ({"times": [0.0]}, ValueError, "times must lead away"),
        ({"times": 0.0}, ValueError, "times must lead away"),
        ({"times": [np.nan]}, ValueError, "times must lead away"),
        ({"times": [4.5]}, ValueError, "reach from 0 to 4.5; the fit covers 0 to 4"),
        ({"times": [-1.0]}, ValueError, "the fit covers 0 to 4"),
        ({"n_cells": 0}, ValueError, "n_cells must be positive"),
        ({"tol": 0.0}, ValueError, "tol"),
        ({"tol": -1.0}, ValueError, "tol"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_input_is_refused_and_changes_nothing(fitted, unchanged, arguments, error, message):
    adata = fitted.copy()
    with unchanged(adata), pytest.raises(error, match=message):
        tl.simulate(adata, **arguments)


def test_without_a_fit_the_call_to_make_is_named(unfitted):
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.fit"):
        tl.simulate(unfitted)


def test_more_positions_than_memory_holds_are_refused_before_any_are_simulated(fitted, monkeypatch, unchanged):
    monkeypatch.setattr("vgfm_sc.core.dynamics.chance.MOST_NUMBERS", 7 * 2 * 9 - 1)
    monkeypatch.setattr("vgfm_sc.core.dynamics.model.Model.followed", None)
    with unchanged(fitted), pytest.raises(ValueError, match=r"7 cells are followed.*2 dimensions at 9 times.*n_cells"):
        tl.simulate(fitted, n_cells=7, times=np.linspace(0, 4, 9)[1:])


def test_cells_are_followed_a_block_at_a_time_with_the_same_result(fitted, monkeypatch):
    whole, blocks = fitted.copy(), fitted.copy()
    tl.simulate(whole, n_cells=20, tol=1e-7)
    monkeypatch.setattr("vgfm_sc.core.dynamics.model.BLOCK_CELLS", 6)
    tl.simulate(blocks, n_cells=20, tol=1e-7)
    for name in ("positions", "mass"):
        run, again = (adata.uns["vgfm"]["trajectories"][name] for adata in (whole, blocks))
        assert run.dtype == again.dtype == np.float32
        np.testing.assert_allclose(again, run, rtol=1e-3, atol=1e-4)
