"""The same seed gives the same result: in another process, beside other fits, and with other numbers of threads."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from vgfm_sc import datasets, tl


def results(settings: dict, seed: int) -> dict:
    """All that is left to chance, by name; runs here and, by its source, in other processes."""
    adata = datasets.toggle_switch(n_per_branch=60, seed=seed)
    tl.fit(adata, "time", n_models=2, validation=0.1, seed=seed, **settings)
    fitted = adata.uns["vgfm"]
    found = {f"weights.{name}": value for name, value in fitted["weights"].items()}
    found |= {f"{stage}.{name}": x for stage, part in fitted["history"].items() for name, x in part.items()}
    found["coupling"] = adata.obsp["vgfm_coupling"].toarray()
    found |= {name: adata.obs[name].to_numpy() for name in adata.obs if name.startswith("vgfm")}
    tl.simulate(adata, n_cells=9, noise=0.2, branching=True, seed=seed)
    found |= {name: x for name, x in adata.uns["vgfm"]["trajectories"].items() if name != "cells"}
    tl.fate(adata, "branch", seed=seed)
    found["fate"] = adata.obsm["vgfm_fate"].to_numpy()
    found["evaluation"] = tl.evaluate(adata, max_cells=50, seed=seed).to_numpy()
    return found


def assert_equal(found, wanted) -> None:
    assert set(found) == set(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


@pytest.fixture(scope="module")
def alone(small) -> dict:
    """Results of seeds 0 and 1, one after the other in this process."""
    return {seed: results(small, seed) for seed in (0, 1)}


def test_another_seed_is_another_result(alone):
    assert not np.array_equal(alone[0]["weights.velocity.0.weight"], alone[1]["weights.velocity.0.weight"])


@pytest.mark.slow
def test_two_processes_at_once_agree_with_this_one_to_the_last_bit(alone, small, tmp_path):
    header = "from __future__ import annotations\nimport numpy as np, torch\nfrom vgfm_sc import datasets, tl\n"
    running = []
    for seed in (0, 1):
        call = f"np.savez({str(tmp_path / f'{seed}.npz')!r}, **results({small!r}, {seed}))"
        code = f"{header}\n{inspect.getsource(results)}\ntorch.set_num_threads(1)\n{call}"
        environment = {**os.environ, "PYTHONHASHSEED": str(seed + 7)}
        running.append(subprocess.Popen([sys.executable, "-c", code], env=environment))
    assert [process.wait() for process in running] == [0, 0]
    for seed in (0, 1):
        with np.load(tmp_path / f"{seed}.npz") as found:
            assert_equal(dict(found), alone[seed])


def test_two_threads_at_once_agree_with_one_after_the_other(alone, small, same_random_state):
    with ThreadPoolExecutor(2) as pool:
        running = {seed: pool.submit(results, small, seed) for seed in (0, 1)}
        for seed, result in running.items():
            assert_equal(result.result(), alone[seed])


def test_other_numbers_of_threads_agree_up_to_rounding():
    """Sums are taken in another order; the defaults' width is needed to see it."""
    adata = datasets.branching(n_cells=300, times=(0.0, 1.0), seed=0)
    fits = []
    for n_threads in (1, 2, 2):
        torch.set_num_threads(n_threads)
        try:
            few = {"match_steps": 20, "fit_steps": 2, "fit_cells": 200, "progress": False}
            fits.append(tl.fit(adata, "time", use_rep="X_state", copy=True, **few))
        finally:
            torch.set_num_threads(1)
    one, two, again = fits
    for name in ("vgfm_growth", "vgfm_mass"):
        np.testing.assert_array_equal(two.obs[name], again.obs[name])
        np.testing.assert_allclose(two.obs[name], one.obs[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(two.obsm["vgfm_velocity_state"], again.obsm["vgfm_velocity_state"])
    np.testing.assert_allclose(two.obsm["vgfm_velocity_state"], one.obsm["vgfm_velocity_state"], rtol=1e-3, atol=1e-4)
