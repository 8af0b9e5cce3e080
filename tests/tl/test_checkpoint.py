from __future__ import annotations

import numpy as np
import pytest

from vgfm_sc import methods, tl
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.training import checkpoint, fitting, matching
from vgfm_sc.core.training import train as training


@pytest.fixture
def calls(monkeypatch) -> dict[str, int]:
    """How often each part of a training was done."""
    counted = {"coupled": 0, "matched": 0}

    def counting(name, function):
        def count(*arguments, **settings):
            counted[name] += 1
            return function(*arguments, **settings)

        return count

    monkeypatch.setattr(training, "_coupled", counting("coupled", training._coupled))
    monkeypatch.setattr(matching, "match", counting("matched", matching.match))
    return counted


def breaking(monkeypatch, module, name, after: int = 0):
    """Let ``module.name`` be interrupted when it is called for the time ``after + 1``."""
    whole, done = getattr(module, name), []

    def broken(*arguments, **settings):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(1)
        return whole(*arguments, **settings)

    patch = pytest.MonkeyPatch()
    patch.setattr(module, name, broken)
    return patch


def assert_same_fit(a, b):
    for name, value in b.uns["vgfm"]["weights"].items():
        np.testing.assert_array_equal(a.uns["vgfm"]["weights"][name], value)
    for stage, parts in b.uns["vgfm"]["history"].items():
        for name, value in parts.items():
            np.testing.assert_array_equal(a.uns["vgfm"]["history"][stage][name], value)
    assert (a.obsp["vgfm_coupling"] != b.obsp["vgfm_coupling"]).nnz == 0
    np.testing.assert_array_equal(a.obs["vgfm_mass"], b.obs["vgfm_mass"])
    np.testing.assert_array_equal(a.obs["vgfm_growth"], b.obs["vgfm_growth"])
    assert a.uns["vgfm"]["couplings"].keys() == b.uns["vgfm"]["couplings"].keys()


@pytest.mark.parametrize(
    ("module", "name", "after", "coupled", "matched"),
    [
        (training, "_coupled", 2, 10, 1),  # two of eight first couplings are kept
        (training, "_coupled", 10, 2, 1),  # and two of the four proper
        (matching, "match", 0, 0, 1),
        (fitting, "fit", 0, 0, 0),
        (training, "balance", 0, 0, 0),
    ],
)
def test_a_broken_fit_goes_on_from_what_was_done_and_ends_the_same(
    unfitted, fitted, small, unchanged, tmp_path, monkeypatch, calls, module, name, after, coupled, matched
):
    adata = unfitted.copy()
    patch = breaking(monkeypatch, module, name, after)
    with patch.context(), unchanged(adata), pytest.raises(KeyboardInterrupt):
        tl.fit(adata, "time", checkpoint=tmp_path / "run", **small)
    patch.undo()
    calls.update(coupled=0, matched=0)
    tl.fit(adata, "time", checkpoint=tmp_path / "run", **small)
    assert calls == {"coupled": coupled, "matched": matched}
    assert_same_fit(adata, fitted)
    assert not list((tmp_path / "run").glob("*.part"))


LONGER = {"match_steps": 120, "fit_steps": 25}
"""Blocks of matching have 50 steps, and fitting judges every 10."""


@pytest.fixture(scope="module")
def longer(unfitted, small):
    return tl.fit(unfitted, "time", copy=True, **{**small, **LONGER})


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize(
    ("module", "name", "after", "left"),
    [(matching, "velocity_loss", 70, {"match": 70, "fit": 25}), (fitting, "distribution_loss", 17, {"fit": 15})],
)
def test_a_stage_goes_on_within_and_ends_the_same(
    unfitted, longer, small, unchanged, tmp_path, monkeypatch, module, name, after, left, error
):
    """What is written on an interrupt, or else by time, is enough to go on as if nothing had happened."""
    adata, settings = unfitted.copy(), {**small, **LONGER, "checkpoint": tmp_path}
    if error is RuntimeError:
        monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0.0)
    whole, calls = getattr(module, name), []

    def broken(*arguments, **given):
        calls.append(name)
        if len(calls) > after:
            raise error
        return whole(*arguments, **given)

    with monkeypatch.context() as patch, unchanged(adata), pytest.raises(error):
        patch.setattr(module, name, broken)
        tl.fit(adata, "time", **settings)
    assert len(list(tmp_path.glob("*-underway.npz"))) == 1
    steps = {"velocity": 0, "kept": 0, "fit": 0}

    def counting(module, name, stage):
        real = getattr(module, name)

        def counted(*arguments, **given):
            steps[stage] += 1
            return real(*arguments, **given)

        monkeypatch.setattr(module, name, counted)

    counting(matching, "velocity_loss", "velocity")
    counting(matching, "loss", "kept")  # in each step of the fitting stage, and with a loss of the velocity in it
    counting(fitting, "distribution_loss", "fit")
    tl.fit(adata, "time", **settings)
    assert {"match": steps["velocity"] - steps["kept"], "fit": steps["fit"]} == {"match": 0, **left}
    assert steps["kept"] == steps["fit"]
    assert_same_fit(adata, longer)
    assert not list(tmp_path.glob("*-underway.npz"))


def test_an_error_of_its_own_is_not_kept(unfitted, small, tmp_path):
    """A loss that leaves the finite numbers would do so again."""
    with pytest.raises(FloatingPointError):
        tl.fit(unfitted, "time", checkpoint=tmp_path, **{**small, "match_steps": 60, "match_lr": 1e30})
    assert not list(tmp_path.glob("*-matching*"))


def test_a_finished_fit_is_taken_from_its_parts(unfitted, fitted, small, tmp_path, calls):
    for _ in range(2):
        adata = tl.fit(unfitted, "time", copy=True, checkpoint=str(tmp_path), **small)
        assert_same_fit(adata, fitted)
    assert calls == {"coupled": 12, "matched": 1}


@pytest.mark.parametrize(
    ("change", "coupled"),
    [
        ({"seed": 1}, 12),
        ({"width": 16}, 12),
        ({"match_lr": 0.02}, 12),
        ({"method": methods.vgfm(rho=0.6)}, 12),
        ({"method": methods.vgfm(shared_growth=False)}, 4),
        ({"method": "otcfm"}, 4),
        ({"method": methods.bridge(sigma=0.1)}, 4),
        ({"method": methods.manifold(detour=3.0)}, 12),
        ({"mass": {0: 1, 1: 1, 2: 1, 3: 1, 4: 1}}, 12),
        ({"validation": 0.1}, 12),
    ],
)
def test_another_fit_does_not_find_the_parts(unfitted, small, tmp_path, calls, change, coupled):
    tl.fit(unfitted, "time", copy=True, checkpoint=tmp_path, **{**small, "match_steps": 2})
    calls.update(coupled=0, matched=0)
    tl.fit(unfitted, "time", copy=True, checkpoint=tmp_path, **{**small, "match_steps": 2, **change})
    assert calls == {"coupled": coupled, "matched": 1}


def test_other_cells_do_not_find_the_parts(unfitted, small, tmp_path, calls):
    tl.fit(unfitted, "time", copy=True, checkpoint=tmp_path, **{**small, "match_steps": 2})
    moved = unfitted.copy()
    moved.obsm["X_genes"][0, 0] += 1e-6
    calls.update(coupled=0, matched=0)
    tl.fit(moved, "time", checkpoint=tmp_path, **{**small, "match_steps": 2})
    assert calls == {"coupled": 12, "matched": 1}


def test_models_of_an_ensemble_have_parts_of_their_own(unfitted, small, tmp_path, calls):
    fits = [
        tl.fit(unfitted, "time", copy=True, n_models=2, checkpoint=folder, **{**small, "match_steps": 2})
        for folder in (tmp_path, tmp_path, None)
    ]
    assert calls["matched"] == 4 and len(list(tmp_path.iterdir())) == 2 * (8 + 4 + 2)
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.obs["vgfm_growth_sd"], fits[0].obs["vgfm_growth_sd"])


def test_a_file_that_is_not_whole_is_refused_by_name(unfitted, small, tmp_path, unchanged):
    quick = {**small, "match_steps": 2, "checkpoint": tmp_path}
    tl.fit(unfitted, "time", copy=True, **quick)
    (path,) = tmp_path.glob("*-matching.npz")
    path.write_bytes(path.read_bytes()[:100])
    with unchanged(unfitted), pytest.raises(Exception) as caught:  # numpy and zipfile have errors of their own
        tl.fit(unfitted, "time", **quick)
    assert any(str(path) in note and "Delete it" in note for note in caught.value.__notes__)
    path.unlink()
    tl.fit(unfitted, "time", copy=True, **quick)


def test_a_file_with_objects_is_not_unpickled(tmp_path):
    kept = checkpoint.Checkpoint(tmp_path, "run")
    np.savez(tmp_path / "run-part.npz", a=np.array([{"code": print}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        kept.read("part")


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    kept = checkpoint.Checkpoint(tmp_path / "a" / "b", "run")
    monkeypatch.setattr(checkpoint.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        kept.write("part", {"a": np.arange(3)})
    assert not list(kept.folder.iterdir()) and kept.read("part") is None


def test_a_coupling_comes_back_as_it_was(tmp_path):
    from scipy.sparse import csr_array

    plan = csr_array(np.array([[0.0, 2.0, 0.5], [1.0, 0.0, 0.0]]))
    before = Coupling(plan, np.ones(2), True, 7, 1e-5, 3)
    kept = checkpoint.Checkpoint(tmp_path, "run")
    kept.write("coupling0", before.arrays())
    after = Coupling.of_arrays(kept.read("coupling0"))
    assert (after.plan != plan).nnz == 0 and after.plan.shape == plan.shape
    assert (after.converged, after.n_iter, after.marginal_error, after.n_parts) == (True, 7, 1e-5, 3)
    np.testing.assert_array_equal(after.row_mass, before.row_mass)


def test_the_bar_of_a_stage_taken_up_starts_where_it_was(unfitted, small, tmp_path, monkeypatch, capfd):
    settings = {**small, **LONGER, "fit_steps": 0, "progress": True, "checkpoint": tmp_path}
    patch = breaking(monkeypatch, matching, "velocity_loss", 70)
    with pytest.raises(KeyboardInterrupt):
        tl.fit(unfitted, "time", copy=True, **settings)
    patch.undo()
    capfd.readouterr()
    tl.fit(unfitted, "time", copy=True, **settings)
    last = capfd.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert "matching: 100%" in last and "120/120" in last
