"""Everything on a GPU that is not there: nothing mixes, nothing changes, and data go over only where they must."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretended import pretended_cuda

from vgfm_sc import datasets, get, methods, tl
from vgfm_sc.core.cost import probe
from vgfm_sc.core.training import fitting, matching
from vgfm_sc.core.training import train as training
from vgfm_sc.core.transport import entropic, support

TINY = {"width": 8, "depth": 2, "match_steps": 4, "match_size": 32, "fit_steps": 2, "fit_cells": 20, "progress": False}


@pytest.fixture(autouse=True)
def alike(monkeypatch):
    """Numbers are rounded as on a GPU: a processor simulates cells in parts, and may use numpy's exponential."""
    monkeypatch.setattr(fitting, "N_PARTS", 1)
    monkeypatch.setattr(support, "AVX512", False)


@pytest.fixture
def cuda(monkeypatch):
    with pretended_cuda(monkeypatch) as device:
        yield device


@pytest.fixture(scope="module")
def course():
    adata = datasets.branching(n_cells=40, n_genes=120, times=(0.0, 1.0, 2.0), seed=0)
    adata.obs["prior"] = adata.obs["true_growth"]
    adata.obs["condition"] = np.where(np.arange(adata.n_obs) % 2, "a", "b")
    adata.obsm["X_umap"] = adata.obsm["X_state"][:, :2] ** 3
    return adata


def test_the_device_refuses_what_a_real_one_refuses(cuda):
    there, here = torch.ones(3, device="cuda"), torch.ones(3)
    assert there.device == torch.device("cuda", 0) and (2 * there).is_cuda and here.device.type == "cpu"
    for wrong in (
        lambda: there + here,
        lambda: torch.cat([there, here]),
        lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
        lambda: there.uniform_(generator=torch.Generator()),
    ):
        with pytest.raises(RuntimeError, match="cpu"):
            wrong()
    for wrong in (there.numpy, lambda: np.asarray(there)):
        with pytest.raises(TypeError, match="numpy"):
            wrong()
    assert not cuda.crossings
    assert there.cpu().sum() == 3 and (there + torch.tensor(1.0)).is_cuda
    there.copy_(here)
    assert cuda.crossings == {"to cpu": 1, "copy_": 1}


WAYS = {
    "vgfm": {},
    "otcfm": {"method": "otcfm"},
    "as published": {"method": methods.vgfm(drift_rho=None, smooth=False, shared_growth=False)},
    "manifold": {"method": "manifold"},
    "ensemble": {"n_models": 2},
    "validation": {"validation": 0.3},
    "prior": {"growth_prior": "prior"},
    "conditions": {"condition_key": "condition"},
    "genes": {"use_rep": None},
    "uneven times": {"time_map": {0.0: 0.0, 1.0: 0.1, 2.0: 5.0}},
    "parts": {},
}


SLOW = [pytest.param(way, marks=pytest.mark.slow) if way == "parts" else way for way in WAYS]


@pytest.mark.parametrize("way", SLOW)
def test_a_fit_is_the_same_there(course, way, monkeypatch):
    settings = {"use_rep": "X_state", **TINY, **WAYS[way]}
    if way == "parts":
        monkeypatch.setattr("vgfm_sc.core.transport.parts.FEWEST_CELLS", 5)
        for place in ("cpu", "cuda"):
            monkeypatch.setitem(entropic.MOST_PAIRS, place, 400)
    here = tl.fit(course, "time", copy=True, device="cpu", **settings)
    with pretended_cuda(monkeypatch) as device:
        there = tl.fit(course, "time", copy=True, **settings)
    assert there.uns["vgfm"]["params"]["device"] == "cuda" and device.crossings
    assert (there.uns["vgfm"]["couplings"]["n_parts"] > 1).all() == (way == "parts")
    for name in here.obs:
        np.testing.assert_array_equal(there.obs[name], here.obs[name])
    for name, value in here.uns["vgfm"]["weights"].items():
        np.testing.assert_array_equal(there.uns["vgfm"]["weights"][name], value)


def test_a_checkpoint_is_taken_up_there(course, cuda, tmp_path, monkeypatch):
    settings = {"use_rep": "X_state", "checkpoint": tmp_path, **TINY}
    once = tl.fit(course, "time", copy=True, **settings)
    monkeypatch.setattr(training, "_coupled", None)
    monkeypatch.setattr(matching, "match", None)
    again = tl.fit(course, "time", copy=True, **settings)
    np.testing.assert_array_equal(again.obs["vgfm_growth"], once.obs["vgfm_growth"])


def test_no_step_of_matching_takes_data_over(course, cuda):
    """Draws are made on the processor and go over many steps at a time."""
    crossings = []
    for n in (10, 20):
        cuda.crossings.clear()
        tl.fit(course, "time", copy=True, use_rep="X_state", **{**TINY, "match_steps": n, "fit_steps": 0})
        crossings.append(dict(cuda.crossings))
    assert crossings[0] == crossings[1]


def test_a_probe_of_what_a_fit_takes_runs_there(course, cuda, monkeypatch):
    for name, value in {"SHORT": 0.0, "_wait": lambda device: None}.items():
        monkeypatch.setattr(probe, name, value)
    wanted = tl.fit(course, "time", copy=True, use_rep="X_state", **TINY)
    told = tl.fit(course, "time", copy=True, use_rep="X_state", **{**TINY, "progress": True})
    np.testing.assert_array_equal(told.obs["vgfm_growth"], wanted.obs["vgfm_growth"])


@pytest.fixture(scope="module")
def worked(course):
    return tl.fit(course, "time", copy=True, use_rep="X_state", device="cpu", **TINY)


TOOLS = {
    "simulate": lambda adata, **where: tl.simulate(adata, n_cells=5, **where),
    "simulate backward": lambda adata, **where: tl.simulate(adata, n_cells=5, start=2.0, times=[0.0], **where),
    "simulate by chance": lambda adata, **where: tl.simulate(adata, n_cells=5, noise=0.1, branching=True, **where),
    "choose": lambda adata, **where: tl.choose(adata, "time", ["vgfm"], use_rep="X_state", **TINY, **where).table[
        "score"
    ],
    "evaluate": lambda adata, **where: tl.evaluate(adata, max_cells=20, **where),
    "fate": lambda adata, **where: tl.fate(adata, "cell_type", **where),
    "origin": lambda adata, **where: tl.fate(adata, "cell_type", direction="backward", **where),
    "interpolate": lambda adata, **where: tl.interpolate(adata, 0.5, **where).obsm["X_state"],
    "landscape": lambda adata, **where: tl.landscape(adata, time=0.5, **where),
    "project": lambda adata, **where: tl.project(adata, "umap", **where),
    "model": lambda adata, **where: get.model(adata, **where)(1.0, adata.obsm["X_state"])[0],
    "rank_genes": lambda adata, **where: tl.rank_genes(adata, **where),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_gives_the_same_there(worked, tool, monkeypatch):
    here, there = worked.copy(), worked.copy()
    wanted = TOOLS[tool](here, device="cpu")
    with pretended_cuda(monkeypatch) as device:
        found = TOOLS[tool](there)
    assert device.crossings["to cuda"] and device.crossings["to cpu"]
    if wanted is not None:
        np.testing.assert_array_equal(found, wanted)
    for slot in ("obs", "obsm", "layers"):
        for name, value in getattr(here, slot).items():
            np.testing.assert_array_equal(getattr(there, slot)[name], value)
    for name in ("positions", "mass"):
        if "trajectories" in here.uns["vgfm"]:
            run, again = (adata.uns["vgfm"]["trajectories"] for adata in (here, there))
            np.testing.assert_array_equal(again[name], run[name])


def test_error_bars_are_the_same_there(course, monkeypatch):
    here = tl.fit(course, "time", copy=True, use_rep="X_state", n_models=2, device="cpu", **TINY)
    there = here.copy()
    tl.growth_error(here, device="cpu")
    with pretended_cuda(monkeypatch) as device:
        tl.growth_error(there)
    assert device.crossings["to cuda"] and device.crossings["to cpu"]
    np.testing.assert_array_equal(there.obs["vgfm_growth_error"], here.obs["vgfm_growth_error"])


def test_genes_act_on_genes_alike_there(course, monkeypatch):
    adata = tl.fit(course[:, :20], "time", copy=True, use_rep=None, device="cpu", **TINY)
    here = tl.regulators(adata, device="cpu")
    with pretended_cuda(monkeypatch) as device:
        there = tl.regulators(adata)
    assert device.crossings["to cuda"]
    assert here.equals(there)


def test_changed_genes_have_the_same_effects_there(course, monkeypatch):
    adata = tl.fit(course[:, :20], "time", copy=True, use_rep=None, n_models=2, device="cpu", **TINY)
    few, there = {"n_cells": 10, "start": 1.0, "seed": 1}, adata.copy()
    mean = float(adata.X[:, 1].mean())
    wanted = [tl.perturb(adata, {"gene1": mean}, "cell_type", device="cpu", **few)]
    wanted.append(tl.screen(adata, ["gene1"], "cell_type", to=mean, device="cpu", progress=False, **few))
    with pretended_cuda(monkeypatch) as device:
        found = [tl.perturb(there, {"gene1": mean}, "cell_type", **few)]
        found.append(tl.screen(there, ["gene1"], "cell_type", to=mean, progress=False, **few))
    assert device.crossings["to cuda"] and device.crossings["to cpu"]
    assert all(one.equals(other) for one, other in zip(found, wanted, strict=True))
    runs = (adata.uns["vgfm"]["perturbations"]["gene1"] for adata in (there, adata))
    np.testing.assert_array_equal(*(run["positions_changed"] for run in runs))


@pytest.mark.parametrize(
    ("place", "words", "others"),
    [
        ("coupling", "Lower eps", "match_size"),
        ("velocity_loss", "Lower fit_cells, match_size or width", "eps"),
    ],
)
def test_memory_that_runs_out_says_what_helps_where_it_was(course, monkeypatch, place, words, others):
    def full(*arguments, **settings):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    settings = {"use_rep": "X_state", **TINY}
    if place == "coupling":
        settings["method"] = methods.Method(full)
    else:
        monkeypatch.setattr(matching, place, full)
    with pytest.raises(torch.cuda.OutOfMemoryError) as raised:
        tl.fit(course.copy(), "time", **settings)
    [note] = raised.value.__notes__
    assert words in note and others not in note and 'device="cpu"' in note


def test_following_cells_out_of_memory_speaks_of_cells(worked, monkeypatch):
    def full(*arguments, **settings):
        raise RuntimeError("MPS backend out of memory")

    monkeypatch.setattr("vgfm_sc.core.dynamics.flow.integrate", full)
    with pytest.raises(RuntimeError) as raised:
        tl.simulate(worked.copy())
    assert "fewer cells or times" in raised.value.__notes__[0]
