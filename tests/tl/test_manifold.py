"""Fits of `vgfm_sc.methods.manifold`, and of methods that make their path from the cells."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from vgfm_sc import get, tl
from vgfm_sc.core.path import straight
from vgfm_sc.methods import Method, manifold, otcfm, vgfm

TINY = {"use_rep": "X_r", "width": 8, "depth": 2, "match_steps": 3, "match_size": 16, "fit_steps": 0, "progress": False}


def course(snapshots) -> ad.AnnData:
    n = [len(x) for x in snapshots]
    obs = pd.DataFrame({"day": np.repeat(np.arange(len(n)) * 2.0, n)}, index=np.arange(sum(n)).astype(str))
    return ad.AnnData(obs=obs, obsm={"X_r": np.concatenate(snapshots)})


def arc(n=80, seed=0) -> ad.AnnData:
    """Cells that go from one end of a half circle to the other, of which some are late; they double on the way."""
    rng = np.random.default_rng(seed)
    there, late = np.pi - np.abs(rng.normal(0, 0.15, 2 * n)), rng.random(2 * n) < 0.25
    angles = [np.abs(rng.normal(0, 0.15, n)), np.where(late, rng.uniform(0, np.pi, 2 * n), there)]
    return course([np.stack([np.cos(angle), np.sin(angle)], axis=1) for angle in angles])


@pytest.mark.slow
@pytest.mark.parametrize("fit_steps", [0, 20])
def test_simulated_cells_keep_to_an_arc_that_straight_lines_cut_across(fit_steps):
    """Also after the fitting stage, which sees the cells of the sampled times alone."""
    adata = arc(150)
    settings = {"use_rep": "X_r", "width": 64, "depth": 3, "match_steps": 600, "fit_steps": fit_steps, "fit_cells": 100}
    tl.fit(adata, "day", method=manifold(), score=False, progress=False, **settings)
    positions, mass = get.model(adata).simulate(adata.obsm["X_r"][:150], np.linspace(0, 2, 11), tol=1e-3)
    off = np.abs(np.linalg.norm(positions, axis=2) - 1)
    assert off.mean() < 0.1 and np.quantile(off, 0.95) < 0.3
    np.testing.assert_allclose(mass.mean(axis=1)[-1], 2, rtol=0.02)


@pytest.mark.parametrize("balanced", [False, True])
def test_the_coupling_is_that_of_the_method_with_straight_paths(balanced):
    adata = arc()
    tl.fit(adata, "day", method=manifold(balanced=balanced), **TINY)
    assert adata.uns["vgfm"]["params"]["method"] == ("otmfm" if balanced else "manifold")
    assert adata.uns["vgfm"]["params"]["method_settings"]["detour"] == 4.0
    other = tl.fit(adata, "day", method=otcfm() if balanced else vgfm(), copy=True, **TINY)
    np.testing.assert_array_equal(adata.obs["vgfm_mass"], other.obs["vgfm_mass"])
    assert (adata.obsm["vgfm_velocity_r"] != other.obsm["vgfm_velocity_r"]).any()


def test_the_same_seed_gives_the_same_fit():
    first, again, other = (tl.fit(arc(), "day", method="manifold", seed=s, copy=True, **TINY) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.obsm["vgfm_velocity_r"], again.obsm["vgfm_velocity_r"])
    assert (first.obsm["vgfm_velocity_r"] != other.obsm["vgfm_velocity_r"]).any()


def test_a_path_may_be_made_from_the_cells_of_all_snapshots():
    """Your own: it sees every snapshot, unitless, before anything is coupled."""
    adata, seen = course([np.random.default_rng(k).normal(size=(20 + k, 2)) + k for k in range(3)]), []

    def prepare(cells, generator):
        seen.append([part.clone() for part in cells])
        assert isinstance(generator, torch.Generator)
        return straight

    plain, made = (
        tl.fit(adata, "day", method=Method(vgfm().coupling, prepare=how), copy=True, **TINY) for how in (None, prepare)
    )
    assert [len(part) for part in seen[0]] == [20, 21, 22]
    assert float(torch.cat(seen[0]).var(dim=0, correction=0).mean()) == pytest.approx(1, rel=1e-5)
    np.testing.assert_array_equal(plain.obsm["vgfm_velocity_r"], made.obsm["vgfm_velocity_r"])


def test_cells_that_a_path_cannot_be_made_of_are_refused_before_any_coupling(monkeypatch):
    monkeypatch.setattr("vgfm_sc.core.training.train._couplings", lambda *_: pytest.fail("coupled"))
    adata = course([np.zeros((5, 2)), np.ones((5, 2))])
    with pytest.raises(ValueError, match="needs more than 10 cells at different places.*found 2"):
        tl.fit(adata, "day", method="manifold", **TINY)
    assert not adata.uns and list(adata.obsm) == ["X_r"]
