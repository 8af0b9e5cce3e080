"""The same problem solved there and here, and growth in both units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vgfm_sc import get, methods, tl

pytest.importorskip("moscot")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

DT = 2.0


@pytest.fixture(scope="module")
def solved(branched, recipe):
    """The recipe on days two apart, with the coupling of the publication and next to no training."""
    adata = branched.copy()
    adata.obs["day"] *= DT
    rng = np.random.default_rng(0)
    adata.obs["proliferation"] = rng.uniform(0, 1, adata.n_obs)
    adata.obs["apoptosis"] = rng.uniform(0, 0.5, adata.n_obs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tl, "fit", coupled)
        return recipe("moscot", adata=adata)


def coupled(*args, fit=tl.fit, **named):
    method = methods.vgfm(drift_rho=None, smooth=False, shared_growth=False)
    return fit(*args, method=method, match_steps=2, fit_steps=0, width=16, depth=2, progress=False, **named)


def per_cell(solved, what: str) -> np.ndarray:
    table: pd.DataFrame = getattr(solved["problem"], what)
    return table[what].reindex(solved["adata"].obs_names).to_numpy(dtype=float)


def test_expected_growth_is_the_log_of_their_factor(solved):
    obs, day = solved["adata"].obs, solved["adata"].obs["day"].to_numpy(dtype=float)
    early = day < day.max()
    np.testing.assert_allclose(np.exp(obs["expected"])[early], per_cell(solved, "prior_growth_rates")[early])
    assert (obs["expected"][~early] == 0).all()


def test_plans_are_the_same_but_for_their_totals(solved):
    """Their entropy is relative to equal masses, ours to those expected, which costs their prior the power tau_a."""
    adata = solved["adata"].copy()
    adata.obs["expected"] *= solved["rho"] / (solved["rho"] + solved["eps"])
    coupled(adata, "day", growth_prior="expected")
    for (t0, t1), plan in get.couplings(adata).items():
        theirs = solved["problem"].solutions[t0, t1]
        assert theirs.converged
        assert np.abs(np.asarray(theirs.transport_matrix) * plan.shape[1] - plan).sum() < 3e-3 * plan.sum()


def test_growth_differs_by_one_number_a_time_point(solved):
    obs, day = solved["adata"].obs, solved["adata"].obs["day"].to_numpy(dtype=float)
    difference = np.log(obs["vgfm_mass"].to_numpy()) / DT - np.log(per_cell(solved, "posterior_growth_rates"))
    for t in np.unique(day)[:-1]:
        there = day == t
        level = np.log((day == t + DT).sum() / np.exp(DT * obs["expected"][there]).sum()) / DT
        np.testing.assert_allclose(difference[there], level, atol=0.01)
