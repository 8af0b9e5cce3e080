"""What goes wrong in the middle of a fit: nothing is half written, and what is kept says how it went."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import anndata as ad
import joblib
import numpy as np
import pytest
import torch

from vgfm_sc import get, tl
from vgfm_sc.core import device
from vgfm_sc.core.training import fitting, matching
from vgfm_sc.core.training import train as training
from vgfm_sc.methods import Method, vgfm
from vgfm_sc.tl import _entries, _models

STAGES = {
    "coupling": (training, "_coupled"),
    "a path's noise": (training, "spacing"),
    "slopes": (training.smoothing, "node_slopes"),
    "networks": (training, "Networks"),
    "matching": (matching, "match"),
    "a step of matching": (matching, "velocity_loss"),
    "fitting": (fitting, "fit"),
    "a step of fitting": (fitting, "distribution_loss"),
    "judging": (fitting, "score"),
    "balance": (training, "balance"),
    "fields": (_models, "fields"),
    "plans": (_entries, "joined_plans"),
    "entries": (_entries, "of_fit"),
    "writing": (type(ad.AnnData(np.zeros((1, 1))).obsp), "__setitem__"),  # after obsm and obs
}
"""Where a fit may break off: what holds the function, and its name."""

SLOTS = ("obs", "var", "obsm", "obsp", "layers", "uns")


@pytest.fixture
def broken(monkeypatch):
    """``broken(stage, error, at_call)``: raise ``error`` when a fit calls that function for the time ``at_call``."""

    def breaking(stage: str, error, at_call: int) -> None:
        holder, name = STAGES[stage]
        real, calls = getattr(holder, name), []

        def function(*arguments, **settings):
            calls.append(name)
            if len(calls) == at_call:
                raise error
            return real(*arguments, **settings)

        monkeypatch.setattr(holder, name, function)

    return breaking


@pytest.mark.parametrize(
    ("stage", "error"),
    [*((stage, KeyboardInterrupt) for stage in STAGES), *(("writing", e) for e in (MemoryError, OSError, SystemExit))],
)
def test_a_fit_that_breaks_off_leaves_no_trace(unfitted, small, unchanged, same_random_state, broken, stage, error):
    adata = unfitted.copy()
    broken(stage, error, 1)
    with unchanged(adata), pytest.raises(error):
        tl.fit(adata, "time", **{**small, "match_steps": 3})


@pytest.mark.parametrize(
    ("stage", "at_call"),
    [("coupling", 6), ("matching", 2), ("a step of fitting", 4), ("fields", 2), ("plans", 1), ("writing", 1)],
)
def test_an_ensemble_that_breaks_off_leaves_an_earlier_fit(simulated, small, unchanged, broken, stage, at_call):
    adata = simulated.copy()
    broken(stage, KeyboardInterrupt, at_call)
    with unchanged(adata), pytest.raises(KeyboardInterrupt):
        tl.fit(adata, "time", n_models=2, **{**small, "match_steps": 3})
    assert len(get.trajectories(adata))


@pytest.mark.parametrize("copy", [False, True])
def test_a_view_that_a_broken_fit_was_called_on_stays_one(unfitted, small, broken, copy):
    view = unfitted[unfitted.obs["time"] < 3]
    broken("balance", KeyboardInterrupt, 1)
    with pytest.raises(KeyboardInterrupt):
        tl.fit(view, "time", copy=copy, **{**small, "match_steps": 3})
    assert view.is_view and "vgfm" not in view.uns and "vgfm" not in unfitted.uns


@pytest.mark.parametrize("backed", [None, pytest.param("r+", marks=pytest.mark.slow)])
def test_a_killed_process_leaves_the_file_it_has_read(unfitted, tmp_path, backed):
    path = tmp_path / "a.h5ad"
    unfitted.write_h5ad(path)
    before, whole = hashlib.sha256(path.read_bytes()).hexdigest(), ad.read_h5ad(path)
    code = f"""
        import os, signal, anndata, vgfm_sc
        from vgfm_sc.core.training import fitting
        adata = anndata.read_h5ad({str(path)!r}, backed={backed!r})
        def killed(*arguments, **settings):
            os.kill(os.getpid(), signal.SIGKILL)
        fitting.distribution_loss = killed
        settings = dict(width=8, depth=1, match_steps=3, fit_steps=3, fit_cells=20, progress=False)
        vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", checkpoint={str(tmp_path / "run")!r}, **settings)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    if backed is None:  # opened for writing, HDF5 notes in the file that it is open
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    again = ad.read_h5ad(path)
    assert {k: list(getattr(again, k)) for k in SLOTS} == {k: list(getattr(whole, k)) for k in SLOTS}
    np.testing.assert_array_equal(again.obsm["X_genes"], whole.obsm["X_genes"])
    assert len(list((tmp_path / "run").iterdir())) == 12 + 1  # and what was done is kept
    assert {p.name for p in tmp_path.iterdir()} == {"a.h5ad", "run"}


# memory


def test_in_a_worker_it_tells_so_too(unfitted, small, unchanged, workers):
    def coupling(x0, x1, mass0, mass1, generator):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with joblib.parallel_config(**workers), unchanged(unfitted), pytest.raises(RuntimeError) as caught:
        tl.fit(unfitted, "time", n_models=2, method=Method(coupling), **small)
    assert any("Lower eps" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory, said another"), False),
    ],
)
def test_only_a_full_device_gets_the_note(error, noted):
    with pytest.raises(type(error)) as caught, device.telling_what_to_lower("training"):
        raise error
    assert hasattr(caught.value, "__notes__") == noted


# what did not go well is said and kept


def through_h5ad(adata, path):
    adata.write_h5ad(path)
    return ad.read_h5ad(path)


def test_a_coupling_that_did_not_converge_is_said_and_recorded(unfitted, small, tmp_path):
    calls = []

    def coupling(x0, x1, mass0, mass1, generator):
        calls.append(len(x0))
        found = vgfm().coupling(x0, x1, mass0, mass1, generator)
        return replace(found, converged=len(calls) != 2)

    with pytest.warns(RuntimeWarning, match="from 1 to 2 did not converge") as caught:
        adata = tl.fit(unfitted, "time", copy=True, method=Method(coupling), **{**small, "match_steps": 3})
    assert len(caught) == 1 and caught[0].filename == __file__
    adata = through_h5ad(adata, tmp_path / "a.h5ad")
    assert adata.uns["vgfm"]["couplings"]["converged"].tolist() == [True, False, True, True]


def test_a_fitting_loss_that_left_the_numbers_is_said_and_recorded(unfitted, small, tmp_path, monkeypatch):
    real, losses = fitting.distribution_loss, []

    def diverging(*arguments, **settings):
        losses.append(real(*arguments, **settings))
        return losses[-1] * (torch.nan if len(losses) == 3 else 1)

    monkeypatch.setattr(fitting, "distribution_loss", diverging)
    with pytest.warns(RuntimeWarning, match="not finite at step 2.*Lower fit_lr"):
        adata = tl.fit(unfitted, "time", copy=True, **{**small, "fit_steps": 5})
    stored = through_h5ad(adata, tmp_path / "a.h5ad").uns["vgfm"]["history"]["fitting"]["loss"]
    assert np.isfinite(stored).tolist() == [True, True, False]
    assert np.isfinite(adata.obsm["vgfm_velocity_genes"]).all() and np.isfinite(adata.obs["vgfm_growth"]).all()


@pytest.mark.parametrize("settings", [{"match_lr": 1e30}, {"match_lr": 1e30, "fit_steps": 0}, {"match_lr": 1e38}])
def test_training_that_leaves_the_numbers_writes_nothing(unfitted, small, unchanged, settings):
    with unchanged(unfitted), pytest.raises(FloatingPointError, match="not finite"):
        tl.fit(unfitted, "time", **{**small, **settings})


def test_networks_that_leave_the_numbers_at_the_end_write_nothing(unfitted, small, unchanged, monkeypatch):
    """Losses are of the networks, what is returned is their average."""

    def spoil(networks, *arguments):
        networks.velocity[0].bias.data.fill_(torch.nan)

    monkeypatch.setattr(training, "balance", spoil)
    with unchanged(unfitted), pytest.raises(FloatingPointError, match="not finite.*Lower match_lr"):
        tl.fit(unfitted, "time", **{**small, "match_steps": 3})
