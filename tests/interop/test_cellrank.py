from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import diags_array
from scipy.stats import mannwhitneyu

from vgfm_sc import get, tl

pytest.importorskip("cellrank")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def by_plans(branched, recipe):
    return recipe("CellRank: couplings", adata=branched.copy())


@pytest.fixture(scope="module")
def fate_a(by_plans):
    return by_plans["estimator"].fate_probabilities[:, "fate_a"].X.ravel()


def test_transitions_are_the_plans_divided_by_their_rows(branched, by_plans):
    matrix, day = by_plans["kernel"].transition_matrix, branched.obs["day"].to_numpy()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    for (t0, t1), plan in get.couplings(branched).items():
        found = matrix[day == t0]
        np.testing.assert_allclose(found[:, day == t1].toarray(), shares(plan).toarray(), rtol=1e-5, atol=1e-8)
        assert found[:, day != t1].sum() == 0
    assert matrix[day == day.max()][:, day < day.max()].sum() == 0


def test_fates_follow_the_plans_without_growth(branched, fate_a):
    day = branched.obs["day"].to_numpy()
    wanted = (branched.obs["cell_type"] == "fate_a").to_numpy(dtype=float)[day == day.max()]
    for (t0, _), plan in reversed(get.couplings(branched).items()):
        wanted = shares(plan) @ wanted
        np.testing.assert_allclose(fate_a[day == t0], wanted, atol=1e-4)


def test_fates_are_the_true_ones(branched, fate_a):
    day, is_a = branched.obs["day"].to_numpy(), (branched.obs["true_fate"] == "fate_a").to_numpy()
    for t, least in ((0.0, 0.83), (1.0, 0.88), (2.0, 0.98)):
        a, b = fate_a[(day == t) & is_a], fate_a[(day == t) & ~is_a]
        assert mannwhitneyu(a, b).statistic / (len(a) * len(b)) >= least


def test_fates_agree_with_those_of_the_flow(branched, fate_a):
    adata = branched.copy()
    tl.fate(adata, "cell_type")
    early = adata.obs["day"] < adata.obs["day"].max()
    assert np.corrcoef(fate_a[early], adata.obsm["vgfm_fate"]["fate_a"][early])[0, 1] >= 0.9


def test_transitions_by_velocity_point_along_it(branched, recipe):
    kernel = recipe("CellRank: velocities", adata=branched.copy())["kernel"]
    assert np.isfinite(kernel.transition_matrix.data).all()
    np.testing.assert_allclose(kernel.transition_matrix.sum(axis=1), 1, rtol=1e-6)
    x, early = branched.obsm["X_pca"], (branched.obs["day"] < branched.obs["day"].max()).to_numpy()
    steps = (kernel.transition_matrix @ x - x)[early]
    for v in (branched.obsm["vgfm_velocity_pca"][early], branched.obsm["true_velocity"][early]):
        along = (steps * v).sum(axis=1)
        assert (along > 0).mean() >= 0.95
        # towards one of 15 neighbours in 10 dimensions, not along an axis
        assert (along / np.linalg.norm(steps, axis=1) / np.linalg.norm(v, axis=1)).mean() >= 0.5


def shares(plan):
    return diags_array(1 / plan.sum(axis=1).A1) @ plan
