from __future__ import annotations

import copy
import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import issparse

# numba, which UMAP uses, sets the threads of torch too: those of two workers would wait for each other
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

try:  # interpreters without torch run the tests of the AnnData contract
    import torch
except ImportError:
    torch = None
    collect_ignore = ["core", "interop", "tl"]
    need_it = ("bad_input", "devices", "examples", "faults", "get", "load", "properties", "recovery", "reproducible")
    collect_ignore += [f"test_{name}.py" for name in (*need_it, "times")]
else:
    torch.set_num_threads(1)

matplotlib.use("Agg")


def pytest_collection_modifyitems(items):
    """Tests that take minutes would take half as long again where coverage is measured, and add nothing to it."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def figures_closed():
    """No test sees the figures of another."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def small() -> dict:
    """Settings of a fit that takes a third of a second."""
    return {
        "use_rep": "X_genes",
        "width": 32,
        "depth": 2,
        "match_steps": 40,
        "match_size": 64,
        "fit_steps": 2,
        "fit_cells": 60,
        "progress": False,
    }


@pytest.fixture(scope="session")
def unfitted() -> ad.AnnData:
    """Copy before changing."""
    from vgfm_sc import datasets

    return datasets.toggle_switch(n_per_branch=60, seed=0)


@pytest.fixture(scope="session")
def fitted(unfitted, small) -> ad.AnnData:
    """Copy before changing."""
    pytest.importorskip("torch")
    from vgfm_sc import tl

    return tl.fit(unfitted, "time", copy=True, **small)


@pytest.fixture(scope="session")
def fitted_branching() -> ad.AnnData:
    """A branching process with known fates after a fit, for slow tests; copy before changing."""
    from vgfm_sc import datasets, tl

    adata = datasets.branching(n_dims=2, seed=1)
    tl.fit(adata, "time", use_rep="X_state", fit_steps=60, score=False, progress=False)
    return adata


@pytest.fixture(scope="session")
def simulated(fitted) -> ad.AnnData:
    """`fitted` with 7 trajectories at 9 times; copy before changing."""
    from vgfm_sc import tl

    adata = fitted.copy()
    tl.simulate(adata, n_cells=7, times=np.linspace(0, 4, 9))
    return adata


@pytest.fixture(scope="session")
def workers():
    """``with joblib.parallel_config(**workers): ...`` runs jobs in two other processes."""
    joblib = pytest.importorskip("joblib")
    from joblib.externals.loky import get_reusable_executor

    # arrays above max_nbytes reach the processes as read-only memory maps
    two = {"backend": "loky", "n_jobs": 2, "inner_max_num_threads": 1, "max_nbytes": 100}
    with joblib.parallel_config(**two):  # a process that imports torch after its first job seems to leak memory
        joblib.Parallel()(joblib.delayed(importlib.import_module)("vgfm_sc.tl") for _ in range(4))
    yield two
    get_reusable_executor().shutdown(wait=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Reference data kept beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}")
    return folder


@pytest.fixture(scope="session")
def unchanged():
    """``with unchanged(adata): ...`` fails if obs, var, obsm, obsp, layers, uns or X differ afterwards."""

    @contextmanager
    def compare(adata: ad.AnnData):
        before = contents(adata)
        yield
        assert_same(contents(adata), before)

    return compare


@pytest.fixture
def same_random_state():
    """Fails if the test moves a global random state."""
    before = np.random.get_state(), torch.random.get_rng_state() if torch else None
    yield
    np.testing.assert_equal(np.random.get_state(), before[0])
    if torch:
        assert torch.equal(torch.random.get_rng_state(), before[1])


def contents(adata: ad.AnnData) -> dict:
    slots = {slot: dict(getattr(adata, slot)) for slot in ("obsm", "obsp", "layers", "uns")}
    return copy.deepcopy({**slots, "obs": adata.obs, "var": adata.var, "X": None if adata.isbacked else adata.X})


def assert_same(found, wanted, where: str = "adata") -> None:
    if isinstance(wanted, Mapping):
        assert list(found) == list(wanted), where
        for name in wanted:
            assert_same(found[name], wanted[name], f"{where}[{name!r}]")
    elif isinstance(wanted, pd.DataFrame):
        pd.testing.assert_frame_equal(found, wanted)
    elif issparse(wanted):
        assert found.dtype == wanted.dtype and (found != wanted).nnz == 0, where
    else:
        assert type(found) is type(wanted), where
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted), err_msg=where, strict=True)
