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
    adata.obs["proliferation"], adata.obs["apoptosis"] = (
        rng.uniform(0, 1, adata.n_obs),
        rng.uniform(0, 0.5, adata.n_obs),
    )
    few = {"match_steps": 2, "fit_steps": 0, "width": 16, "depth": 2, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        fit = tl.fit
        method = methods.vgfm(drift_rho=None, smooth=False)
        patch.setattr(tl, "fit", lambda *args, **named: fit(*args, method=method, **few, **named))
        return recipe("moscot", adata=adata)


def per_cell(solved, what: str) -> pd.Series:
    return getattr(solved["problem"], what)[what].reindex(solved["adata"].obs_names)


def test_expected_growth_is_the_log_of_its_factor(solved):
    adata, day = solved["adata"], solved["adata"].obs["day"].astype(float)
    birth_and_death = solved["problem"].problems[0.0, DT]
    early = day < day.max()
    np.testing.assert_allclose(adata.obs["expected"][early], np.log(per_cell(solved, "prior_growth_rates")[early]))
    assert (adata.obs["expected"][~early] == 0).all()
    assert birth_and_death.delta == DT


def test_plans_are_the_same_but_for_their_totals(solved):
    for (t0, t1), plan in get.couplings(solved["adata"]).items():
        theirs = np.asarray(solved["problem"].solutions[t0, t1].transport_matrix) * plan.shape[1]
        assert solved["problem"].solutions[t0, t1].converged
        assert np.abs(theirs - plan).sum() / plan.sum() < 5e-3


def test_growth_differs_by_one_number_a_time_point(solved):
    adata, day = solved["adata"], solved["adata"].obs["day"].astype(float).to_numpy()
    theirs = np.log(per_cell(solved, "posterior_growth_rates").to_numpy(dtype=float))
    ours = np.log(adata.obs["vgfm_mass"].to_numpy()) / DT
    expected = np.exp(adata.obs["expected"].to_numpy() * DT)
    for t in np.unique(day)[:-1]:
        there = day == t
        level = np.log((day == t + DT).sum() / expected[there].sum()) / DT
        np.testing.assert_allclose((ours - theirs)[there], level, atol=5e-3)
