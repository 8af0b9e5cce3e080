"""Fits of `vgfm_sc.methods.wfr` to snapshots whose geodesic is known."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import get, tl
from vgfm_sc.methods import wfr

QUICK = {"use_rep": "X_r", "width": 32, "depth": 2, "match_size": 256, "fit_steps": 0, "progress": False}


def course(snapshots, times) -> ad.AnnData:
    n = [len(x) for x in snapshots]
    obs = pd.DataFrame({"day": np.repeat(times, n)}, index=np.arange(sum(n)).astype(str))
    return ad.AnnData(obs=obs, obsm={"X_r": np.concatenate(snapshots)})


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(100, 100), (50, 150)])
def test_mass_on_the_way_is_that_of_the_geodesic(sizes):
    """All cells go one long way together: where motion is dear, fewer are on the way than at either end."""
    rng = np.random.default_rng(0)
    adata = course([0.01 * rng.normal(size=(n, 1)) + x for n, x in zip(sizes, (0, 5), strict=True)], [2.0, 4.0])
    tl.fit(adata, "day", method=wfr(delta=0.6, smooth=False), match_steps=300, **QUICK)
    x = adata.obsm["X_r"]
    angle = 5 / (2 * 0.6 * np.sqrt(2 * x.var()))
    s, m1 = np.array([0.0, 0.25, 0.5, 0.75, 1.0]), sizes[1] / sizes[0]
    along, across = 1 - s + s * np.sqrt(m1) * np.cos(angle), s * np.sqrt(m1) * np.sin(angle)
    positions, mass = get.model(adata).simulate(x[: sizes[0]], 2 + 2 * s, tol=1e-3)
    np.testing.assert_allclose(mass.mean(axis=1), along**2 + across**2, rtol=0.05)
    np.testing.assert_allclose(positions[..., 0].mean(axis=1), 5 * np.arctan2(across, along) / angle, atol=0.15)
    assert mass.mean(axis=1)[2] < 0.9 * np.sqrt(m1)


def test_branches_that_exchange_nothing_grow_by_what_each_gains():
    rng = np.random.default_rng(0)
    start, end = ([rng.normal(size=(n, 2)) * 0.5 + [x, y] for x, n in cells] for y, cells in
                  ((0, [(-4, 100), (4, 100)]), (2, [(-4, 100), (4, 50)])))  # fmt: skip
    adata = course([np.concatenate(start), np.concatenate(end)], [0.0, 2.0])
    tl.fit(adata, "day", method=wfr(delta=0.4), match_steps=300, **QUICK)
    sent = adata.obs["vgfm_mass"].to_numpy()
    np.testing.assert_allclose([sent[:100].mean(), sent[100:200].mean()], [1, 0.5], rtol=1e-3)
    assert adata.uns["vgfm"]["params"]["method_settings"]["delta"] == 0.4
