"""What the tools write goes to h5ad and zarr and back, is read by later versions, and is checked when it is used."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import issparse

from vgfm_sc import _anndata, get, pl

try:  # interpreters without torch read, write and draw what others have made
    import torch

    from vgfm_sc import tl
    from vgfm_sc.core.dynamics import networks as nets
    from vgfm_sc.core.dynamics import stored
except ImportError:
    tl = None
needs_torch = pytest.mark.skipif(tl is None, reason="torch is not installed here")

TEXT = "UOT"
"""Kinds of arrays of strings: as written, as read, and as read by anndata 0.13."""

CLONES = {"clone_key", "table", "growth", "fates", "calibration"}

DATA = Path(__file__).parent / "data"

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized", "ignore:.*V3 specification"
)


@pytest.fixture(scope="module")
def worked() -> ad.AnnData:
    """Two fits and what every tool makes of them, without torch that of the first version; copy before changing."""
    if tl is None:
        return ad.read_h5ad(DATA / "first_version.h5ad")
    spec = importlib.util.spec_from_file_location("first_version", DATA / "first_version.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    adata = module.worked(16)
    tl.landscape(adata, time="E11")
    tl.landscape(adata, key="of_genes")
    adata.obs["clone"] = clones(adata)
    for key in ("vgfm", "of_genes"):
        tl.compare_clones(adata, "clone", key=key)
        change_genes(adata, key)
    return adata


def change_genes(adata: ad.AnnData, key: str) -> None:
    """Change one gene, and each of two."""
    few = {"n_cells": 20, "n_replicates": 2, "key": key}
    tl.perturb(adata, {adata.var_names[0]: ("scale", 0.9)}, "cell_type", **few)
    tl.screen(adata, list(adata.var_names[:2]), "cell_type", to=("scale", 0.9), progress=False, **few)


def clones(adata: ad.AnnData) -> np.ndarray:
    """Barcodes by turns."""
    return np.asarray(["A/1", "b", "c"])[np.arange(adata.n_obs) % 3]


@pytest.fixture(scope="module", params=["h5ad", "zarr"])
def read_again(request, worked, tmp_path_factory) -> ad.AnnData:
    """`worked` from a file; copy before changing."""
    return through(worked, tmp_path_factory.mktemp("files") / f"a.{request.param}")


def through(adata: ad.AnnData, path: Path) -> ad.AnnData:
    """``adata`` written to ``path`` and read from it."""
    getattr(adata, f"write_{path.suffix[1:]}")(path)
    return getattr(ad, f"read_{path.suffix[1:]}")(path)


def assert_stored(found, wanted, where: str) -> None:
    """The same values of the same kind; strings may have come back as another type of string."""
    if isinstance(wanted, Mapping):
        assert set(found) == set(wanted), where
        for name in wanted:
            assert_stored(found[name], wanted[name], f"{where}[{name!r}]")
    elif isinstance(wanted, pd.DataFrame):
        pd.testing.assert_frame_equal(found, wanted)
    elif issparse(wanted):
        assert type(found) is type(wanted) and found.dtype == wanted.dtype and (found != wanted).nnz == 0, where
    else:
        found, wanted = np.asarray(found), np.asarray(wanted)
        assert wanted.dtype.kind in TEXT or found.dtype == wanted.dtype, where
        np.testing.assert_array_equal(found.astype(wanted.dtype), wanted, err_msg=where, strict=True)


def assert_all_stored(found: ad.AnnData, wanted: ad.AnnData) -> None:
    for slot in ("obs", "var"):
        pd.testing.assert_frame_equal(getattr(found, slot), getattr(wanted, slot))
    for slot in ("obsm", "varm", "obsp", "layers", "uns"):
        assert_stored(dict(getattr(found, slot)), dict(getattr(wanted, slot)), slot)
    assert_stored(found.X, wanted.X, "X")


def leaves(entry, where: str):
    """``(place, value)`` of everything in nested dicts."""
    if isinstance(entry, Mapping):
        for name, value in entry.items():
            assert isinstance(name, str) and "/" not in name, f"{where}[{name!r}]"
            yield from leaves(value, f"{where}[{name!r}]")
    else:
        yield where, entry


def test_every_tool_has_left_something(worked):
    assert set(worked.uns["vgfm"]) >= {"trajectories", "evaluation", "genes", "fate", "origin", "derived", "weights"}
    assert set(worked.uns["vgfm"].get("clones", CLONES)) == CLONES  # the first version had none
    assert tl is None or {"perturbations", "screen"} <= set(worked.uns["vgfm"])
    assert set(worked.uns["vgfm"]["genes"]) == {"growth", "velocity", "fate"}
    assert set(worked.uns["vgfm"]["trajectories"]) >= {"labels", "values", "positions_umap", "mean_mass"}
    assert set(worked.uns["vgfm"]["params"]) >= {"time_map_labels", "totals", "growth_prior"}
    assert set(worked.uns["of_genes"]) >= {"trajectories", "evaluation", "genes"}
    assert "parent" in worked.uns["of_genes"]["trajectories"] and "genes" in worked.uns["of_genes"]["params"]
    assert {"vgfm_growth_sd", "vgfm_velocity_sd", "vgfm_descendants", "of_genes_ancestors"} <= set(worked.obs)
    assert {"vgfm_fate", "vgfm_origin", "vgfm_velocity_umap", "of_genes_velocity_genes"} <= set(worked.obsm)
    assert {"vgfm_velocity", "of_genes_velocity"} <= set(worked.layers) and "vgfm_holdout" in worked.uns


def test_nothing_is_an_object_that_would_be_pickled(worked):
    for key in ("vgfm", "of_genes", "vgfm_holdout"):
        for where, value in leaves(worked.uns[key], key):
            assert isinstance(value, str | bool | int | float | np.ndarray | np.generic | pd.DataFrame), where
            if isinstance(value, np.ndarray | np.generic):
                assert value.dtype.kind in "biuf" + TEXT, where
                assert value.dtype.kind != "O" or all(isinstance(text, str) for text in value.ravel()), where


def test_all_comes_back_as_it_was(worked, read_again):
    assert_all_stored(read_again, worked)


def test_what_came_back_can_be_stored_again(worked, read_again, tmp_path):
    assert_all_stored(through(read_again, tmp_path / "b.h5ad"), worked)


@needs_torch
def test_networks_answer_as_before(worked, read_again):
    for key in ("vgfm", "of_genes"):
        x = _anndata.fitted_snapshots(worked, key)[1].x
        time = worked.uns[key]["time_points"][1]
        for found, wanted in zip(get.model(read_again, key)(time, x), get.model(worked, key)(time, x), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_readers_answer_as_before(worked, read_again):
    for key in ("vgfm", "of_genes"):
        plans = get.couplings(worked, key)
        assert list(get.couplings(read_again, key)) == list(plans)
        for interval, plan in get.couplings(read_again, key).items():
            assert (plan != plans[interval]).nnz == 0
        pd.testing.assert_frame_equal(get.trajectories(read_again, key), get.trajectories(worked, key))
        for by in ("growth", "velocity"):
            pd.testing.assert_frame_equal(get.genes(read_again, by, key=key), get.genes(worked, by, key=key))
    fate = [get.genes(adata, "fate", group="fate_a", n_genes=3) for adata in (read_again, worked)]
    pd.testing.assert_frame_equal(*fate)


@needs_torch
def test_tools_work_on_what_came_back_and_give_the_same(worked, read_again):
    adata = read_again.copy()
    work_on(adata)
    wanted = worked.copy()
    work_on(wanted)
    assert_all_stored(adata, wanted)
    tl.fit(adata, "time", match_steps=2, fit_steps=0, progress=False)  # the tools' results go with the fit they are of
    assert not {"vgfm_fate", "vgfm_velocity_umap"} & set(adata.obsm) and "vgfm_growth_sd" not in adata.obs


def work_on(adata: ad.AnnData) -> None:
    """Run every tool that reads a fit."""
    adata.obs["clone"] = clones(adata)
    for key in ("vgfm", "of_genes"):
        tl.simulate(adata, n_cells=4, branching=key == "vgfm", key=key)
        tl.annotate(adata, ["cell_type", adata.var_names[0]], key=key)
        change_genes(adata, key)
        tl.project(adata, "umap", key=key)
        tl.evaluate(adata, key=key)
        tl.fate(adata, "cell_type", key=key)
        tl.fate(adata, "cell_type", key=key, direction="backward")
        tl.gene_velocity(adata, key=key)
        for by in ("growth", "velocity", "fate"):
            tl.rank_genes(adata, by, key=key)
        tl.descendants(adata, (adata.obs["time"] == 1).to_numpy(), key=key)
        tl.ancestors(adata, (adata.obs["time"] == 1).to_numpy(), key=key)
        assert len(tl.regulators(adata, key=key))
        tl.compare_clones(adata, "clone", key=key)


@needs_torch
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("key", ["vgfm", "of_genes"])
def test_interpolated_cells_can_be_stored(worked, tmp_path, suffix, key):
    time = {"vgfm": 9.0, "of_genes": 0.5}[key]
    cells = tl.interpolate(worked, time, cluster_key="cell_type", key=key)
    assert_all_stored(through(cells, tmp_path / f"a.{suffix}"), cells)


def test_plots_draw_what_came_back(read_again, unchanged):
    draw_all(read_again, unchanged)


OF_LATER = {"clones": "clones", "compare": "comparison", "perturb": "perturbations", "screen": "screen"}
"""Plots that the first version had not, and what they draw."""


def draw_all(adata: ad.AnnData, unchanged) -> None:
    """Draw every plot of what every tool wrote."""
    with unchanged(adata):
        for name in pl.__all__:
            if name == "landscape" and "vgfm_landscape" not in adata.obs:
                continue  # the first version had no score
            if name in OF_LATER and OF_LATER[name] not in adata.uns["vgfm"]:
                continue  # nor these
            if name == "animate":
                continue  # it has no figure to show, and draws what trajectories do
            getattr(pl, name)(adata, show=False)
            if name not in ("fate", "holdout", "uncertainty"):
                getattr(pl, name)(adata, show=False, key="of_genes")
            plt.close("all")


# the file of the first version


@pytest.fixture
def first() -> ad.AnnData:
    """Written by version 0.1.0, see tests/data/first_version.py."""
    return ad.read_h5ad(DATA / "first_version.h5ad")


def test_file_of_the_first_version_is_small():
    assert (DATA / "first_version.h5ad").stat().st_size < 200_000


def test_first_version_is_read(first):
    for key in ("vgfm", "of_genes"):
        assert first.uns[key]["version"] == "0.1.0"
        _, snapshots = _anndata.fitted_snapshots(first, key)
        sent = np.concatenate([np.asarray(plan.sum(axis=1)).ravel() for plan in get.couplings(first, key).values()])
        held = first.obs[f"{key}_mass"].notna().to_numpy()
        before_the_last = snapshots.time < snapshots.time_points[-1]
        assert (sent > 0).sum() == (held & before_the_last).sum()
        table = get.trajectories(first, key)
        np.testing.assert_array_equal(table.query("trajectory == 0")["time"], first.uns[key]["trajectories"]["times"])
        for by in ("growth", "velocity"):
            table = get.genes(first, by, key=key)
            assert {"names", "scores", "pvals", "pvals_adj"} <= set(table)
            assert set(table["names"]) <= set(first.var_names)


@needs_torch
def test_networks_of_the_first_version_answer_as_stored(first):
    for key, name in (("vgfm", "vgfm_velocity_pca"), ("of_genes", "of_genes_velocity_genes")):
        _, snapshots = _anndata.fitted_snapshots(first, key)
        v, g = get.model(first, key)(snapshots.time, snapshots.x)
        np.testing.assert_allclose(v, first.obsm[name], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(g, first.obs[f"{key}_growth"], rtol=1e-4, atol=1e-5)


@needs_torch
def test_trajectories_of_the_first_version_are_those_simulated_today(first):
    before = get.trajectories(first)
    tl.simulate(first, n_cells=3, times=[8.0, 9.0, 11.0])
    now = get.trajectories(first)
    assert now["cell"].tolist() == before["cell"].tolist()
    np.testing.assert_allclose(now.drop(columns="cell"), before.drop(columns="cell"), rtol=1e-3, atol=1e-4)


@needs_torch
def test_tools_work_on_the_first_version(first):
    work_on(first)


def test_plots_draw_the_first_version(first, unchanged):
    draw_all(first, unchanged)


# stored weights that are not those of the networks they are said to be


def spoiled(adata: ad.AnnData, **changes) -> ad.AnnData:
    """A copy with other ``params`` or, by full name, other ``weights``; `None` drops one."""
    adata = adata.copy()
    for name, value in changes.items():
        part = adata.uns["vgfm"]["params" if name in ("width", "depth") else "weights"]
        part[name] = value
        if value is None:
            del part[name]
    return adata


NOT_THESE = [
    ({"velocity.0.weight": np.zeros((8, 5), np.float32)}, r"width 8 and depth 1 in 3 dimensions.*velocity\.0\.weight"),
    ({"velocity.0.bias": np.zeros((8, 1), np.float32)}, r"velocity\.0\.bias"),
    ({"growth.2.bias": np.float32(0)}, r"growth\.2\.bias"),
    ({"growth.2.bias": None}, r"growth\.2\.bias"),
    ({"velocity.0.weight": None}, r"velocity\.0\.weight"),
    ({"another": np.zeros(3, np.float32)}, "another"),
    ({"times": np.zeros(5, np.float32)}, "times"),
    ({"velocity.0.bias": np.full(8, np.nan, np.float32)}, r"not finite.*velocity\.0\.bias.*tl\.fit"),
    ({"low": np.full(3, -np.inf, np.float32)}, "not finite.*low"),
    ({"velocity.0.bias": np.array(["a"] * 8)}, r"not finite floating-point.*velocity\.0\.bias"),
    ({"width": 0}, "width 0"),
    ({"width": -8}, "width -8"),
    ({"width": 9}, "width 9"),
    ({"depth": 2}, "depth 2"),
    ({"depth": 0}, "depth 0"),
    ({"depth": 10**12}, "depth 1000000000000"),
    ({"width": 10**12}, "width 1000000000000"),
]


@needs_torch
@pytest.mark.parametrize(("changes", "message"), NOT_THESE, ids=lambda value: str(value)[:40])
def test_weights_of_other_networks_are_refused(worked, unchanged, changes, message):
    adata = spoiled(worked, **changes)
    with unchanged(adata), pytest.raises(ValueError, match=message):
        get.model(adata)
    with unchanged(adata), pytest.raises(ValueError, match=message):
        tl.simulate(adata)


@needs_torch
def test_sizes_that_are_declared_alone_take_no_memory():
    weights = stored.weights(nets.Networks(3, 8, 1, 3, torch.Generator().manual_seed(0)).requires_grad_(False))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for width, depth in ((10**5, 1), (10**18, 3), (8, 10**7)):
        with pytest.raises(ValueError, match="do not fit"):
            stored.networks(weights, 3, width, depth, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB; the first would take 40 GB


@needs_torch
def test_a_fit_is_read_without_what_it_was_made_with(worked, tmp_path):
    """Another process, no state shared: the file is all there is."""
    worked.write_h5ad(tmp_path / "a.h5ad")
    code = f"""
        import warnings, anndata, vgfm_sc
        warnings.simplefilter("ignore")
        adata = anndata.read_h5ad({str(tmp_path / "a.h5ad")!r})
        v, g = vgfm_sc.get.model(adata)(9.0, adata.obsm["X_pca"])
        print(repr(float(v.sum())), repr(float(g.sum())))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    v, g = get.model(worked)(9.0, worked.obsm["X_pca"])
    np.testing.assert_allclose([float(number) for number in done.stdout.split()], [v.sum(), g.sum()], rtol=1e-6)
