from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from vgfm_sc import get, tl

SURE = 4.0
"""Standard errors that a mean may be off: one in 16,000 by chance, and the seeds are fixed."""


def run(fitted, **arguments) -> tuple[dict, ad.AnnData]:
    adata = fitted.copy()
    assert tl.simulate(adata, **arguments) is None
    return adata.uns["vgfm"]["trajectories"], adata


def at(fitted, time) -> np.ndarray:
    return np.flatnonzero(fitted.obs["time"] == time)


@pytest.mark.parametrize("time", [0, 2])
def test_expected_number_of_cells_is_the_deterministic_mass(fitted, time):
    times = np.arange(time + 1.0, 5.0)
    for cell in at(fitted, time)[[0, 17, 60, -1]]:
        mass = run(fitted, start=[cell], times=times)[0]["mass"][:, 0]
        stored = run(fitted, start=np.full(3000, cell), n_cells=None, times=times, branching=True)[0]
        founder = stored["parent"].copy()
        founder[:3000] = np.arange(3000)
        for column in range(3000, len(founder)):
            founder[column] = founder[stored["parent"][column]]
        for k in range(1, len(mass)):
            counts = np.bincount(founder, stored["mass"][k], minlength=3000)
            rare = np.sqrt(
                abs(mass[k] - 1) * mass[k]
            )  # standard deviation of births or deaths so few that none was seen
            assert abs(counts.mean() - mass[k]) < SURE * max(counts.std(), rare) / 3000**0.5
            assert counts.sum() == stored["mass"][k].sum() == (stored["mass"][k] == 1).sum()


def test_without_noise_cells_keep_to_the_deterministic_paths(fitted):
    cells = at(fitted, 0)[::10]
    smooth = run(fitted, start=cells, n_cells=None)[0]
    stored = run(fitted, start=cells, n_cells=None, branching=True)[0]
    np.testing.assert_array_equal(stored["times"], smooth["times"])
    assert stored["n_start"] == smooth["n_start"] == len(cells) < stored["mass"].shape[1]
    mother = np.arange(len(stored["cells"]))
    while (mother >= len(cells)).any():
        mother = np.where(mother >= len(cells), stored["parent"][mother], mother)
    living = stored["mass"] == 1
    np.testing.assert_allclose(stored["positions"][living], smooth["positions"][:, mother][living], atol=2e-3)
    assert stored["cells"].tolist() == smooth["cells"][mother].tolist()


def test_noise_without_branching_carries_a_mass_and_shifts_no_column(fitted):
    stored = run(fitted, n_cells=30, times=[1.0, 4.0], noise=0.05)[0]
    calm = run(fitted, n_cells=30, times=[1.0, 4.0])[0]
    assert stored["cells"].tolist() == calm["cells"].tolist() and "parent" not in stored
    assert stored["mass"].shape == (3, 30) and (stored["mass"][0] == 1).all()
    np.testing.assert_array_equal(stored["positions"][0], calm["positions"][0])
    spread = (stored["positions"][1] - calm["positions"][1]).std()
    assert 0.03 < spread < 0.08  # the velocity field gathers or scatters the noise a little
    assert len(np.unique(stored["mass"][2])) > 20


def test_all_cells_with_branching_and_noise_keep_near_the_observed_total(fitted):
    stored = run(fitted, n_cells=None, times=[4.0], branching=True, noise=0.02)[0]
    assert stored["share"] == 1 and stored["n_start"] == len(at(fitted, 0))
    observed = len(at(fitted, 4))
    assert abs(stored["mass"][-1].sum() / observed - 1) < 0.15


def test_a_cell_given_twice_is_followed_twice(fitted):
    cell = at(fitted, 0)[0]
    stored = run(fitted, start=[cell, cell], times=[1.0], noise=0.1)[0]
    assert stored["n_start"] == 2 and len(set(stored["cells"])) == 1
    assert (stored["positions"][1, 0] != stored["positions"][1, 1]).any()
    assert stored["share"] == 1 / len(at(fitted, 0))


def test_a_cluster_is_a_mask(fitted):
    some = (fitted.obs["time"] == 1) & (fitted.obs["branch"] == "active")
    stored = run(fitted, start=some, n_cells=None, branching=True)[0]
    assert stored["times"][0] == 1 and stored["n_start"] == some.sum()
    assert set(stored["cells"]) == set(fitted.obs_names[some])


def test_same_seed_same_run(fitted, same_random_state):
    arguments = {"n_cells": 20, "branching": True, "noise": 0.1}
    first, again, other = (run(fitted, **arguments, seed=seed)[0] for seed in (0, 0, 1))
    assert first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert first["mass"].sum() != other["mass"].sum()


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored_and_read(fitted, tmp_path, suffix):
    stored, adata = run(fitted, n_cells=20, branching=True)
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    found = again.uns["vgfm"]["trajectories"]
    for name in stored:
        np.testing.assert_array_equal(found[name], stored[name])
    table = get.trajectories(again)
    assert len(table) == stored["mass"].size
    assert table.groupby("time")["mass"].sum().tolist() == stored["mass"].sum(axis=1).tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"noise": -1.0}, ValueError, "noise must be at least 0"),
        ({"noise": np.nan}, ValueError, "noise must be at least 0 and finite"),
        ({"noise": "much"}, TypeError, "noise must be a number"),
        ({"noise": True}, TypeError, "noise must be a number"),
        ({"step": 0.0, "branching": True}, ValueError, "step must be positive"),
        ({"step": np.inf, "branching": True}, ValueError, "step must be positive and finite"),
        ({"start": 4.0, "times": [1.0], "branching": True}, ValueError, "goes forward only"),
    ],
    ids=str,
)
def test_bad_input_is_refused_and_changes_nothing(fitted, unchanged, arguments, error, message):
    adata = fitted.copy()
    with unchanged(adata), pytest.raises(error, match=message):
        tl.simulate(adata, **arguments)


def test_a_fit_without_score_refuses_noise_and_does_all_else(unfitted, small, unchanged):
    adata = tl.fit(unfitted, "time", copy=True, score=False, **{**small, "match_steps": 2, "fit_steps": 0})
    assert not any(name.startswith("density") for name in adata.uns["vgfm"]["weights"])
    assert not adata.uns["vgfm"]["params"]["score"]
    with unchanged(adata), pytest.raises(ValueError, match="score=True"):
        tl.simulate(adata, noise=0.1)
    with unchanged(adata), pytest.raises(ValueError, match="score=True"):
        tl.fate(adata, "branch", noise=0.1)
    tl.simulate(adata, n_cells=5, branching=True)


def test_noise_goes_backward_too(fitted):
    stored = run(fitted, start=4.0, n_cells=40, times=[3.0, 0.0], noise=0.05)[0]
    calm = run(fitted, start=4.0, n_cells=40, times=[3.0, 0.0])[0]
    assert 0.01 < (stored["positions"][1] - calm["positions"][1]).std() < 0.3
    assert np.isfinite(stored["positions"]).all() and (stored["mass"][0] == 1).all()


def test_too_many_cells_change_nothing(fitted, unchanged, monkeypatch):
    monkeypatch.setattr("vgfm_sc.core.dynamics.chance.MOST_NUMBERS", 100)
    adata = fitted.copy()
    with unchanged(adata), pytest.raises(ValueError, match="n_cells"):
        tl.simulate(adata, branching=True)
