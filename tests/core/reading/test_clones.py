"""Agreement with clones, by cases of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr

from vgfm_sc.core.reading import clones

CODES = np.repeat(np.arange(5), 4), np.repeat(np.arange(5), [1, 2, 3, 4, 5])
"""Clones of 20 cells and of 15 later ones."""


def descent(plan) -> clones.Descent:
    plan = csr_matrix(plan)
    return clones.Descent(plan, np.asarray(plan.sum(axis=0)).ravel())


def by_pairs(score: np.ndarray, positive: np.ndarray) -> float:
    """AUROC by comparing every positive one with every other."""
    apart = score[positive][:, None] - score[~positive]
    return ((apart > 0) + 0.5 * (apart == 0)).mean()


def test_a_perfect_coupling_scores_1():
    plan = np.equal.outer(*CODES) * np.random.default_rng(0).uniform(0.1, 1, (20, 15))
    assert descent(plan)(*CODES) == {"share": 1, "auroc": 1}


def test_a_coupling_that_knows_nothing_scores_what_chance_does():
    found = descent(np.ones((20, 15)))(*CODES)
    assert found["auroc"] == 0.5
    assert found["share"] == pytest.approx(np.equal.outer(*CODES).mean())


def test_shuffled_clones_score_what_chance_does():
    scores = descent(np.equal.outer(*CODES))
    found = clones.shuffled(scores, CODES, 400, np.random.default_rng(0))
    assert found["auroc"].shape == (400,)
    assert abs(found["auroc"].mean() - 0.5) < 0.01
    assert abs(found["share"].mean() - np.equal.outer(*CODES).mean()) < 0.01


def test_pairs_without_mass_are_counted_and_never_made():
    rng = np.random.default_rng(1)
    plan = rng.integers(1, 4, (20, 15)) * (rng.random((20, 15)) < 0.3) + np.eye(20, 15)
    same = np.equal.outer(*CODES)
    found = descent(plan)(*CODES)
    assert found["auroc"] == pytest.approx(by_pairs((plan / plan.sum(axis=0)).ravel(), same.ravel()))
    assert found["share"] == pytest.approx(plan[same].sum() / plan.sum())


def test_mass_is_judged_by_what_arrives_from_all_cells():
    plan, arrived = csr_matrix([[3.0, 1.0], [1.0, 2.0]]), np.array([100.0, 3.0])
    found = clones.Descent(plan, arrived)(np.array([0, 1]), np.array([0, 1]))
    assert found["auroc"] == 0.75  # .03 and .67 against .33 and .01


def test_one_clone_or_no_mass_has_no_scores():
    assert np.isnan(descent(np.ones((2, 3)))(np.zeros(2, dtype=int), np.zeros(3, dtype=int))["auroc"])
    nothing = clones.Descent(csr_matrix((2, 2)), np.ones(2))(np.arange(2), np.arange(2))
    assert np.isnan(nothing["share"]) and nothing["auroc"] == 0.5


def test_clones_seen_at_both_times_are_followed():
    rows, both = clones.followed(np.array([0, -1, 2, 3, 0, 5]), np.array([5, 2, 2, 4, -1]))
    assert both.tolist() == [2, 5]
    assert [part.tolist() for part in rows] == [[2, 5], [0, 1, 2]]
    assert not len(clones.followed(np.array([0, -1]), np.array([1, -1]))[1])


def test_masses_that_are_the_ratios_of_clone_sizes_agree():
    sizes = np.array([1, 2, 3, 4, 5]) / 4
    found = clones.Growth(np.repeat(2 * sizes, 4), np.log(2))(*CODES)
    np.testing.assert_allclose(found["predicted"], found["observed"])
    np.testing.assert_allclose(found["observed"], np.log(2 * sizes))
    assert found["pearson"] == pytest.approx(1) and found["spearman"] == pytest.approx(1)


def test_growth_of_a_clone_is_the_mean_over_its_cells():
    mass = np.random.default_rng(0).gamma(2.0, size=20)
    found = clones.Growth(mass, 0.0)(*CODES)
    np.testing.assert_allclose(found["predicted"], np.log(mass.reshape(5, 4).mean(axis=1)))
    wanted = spearmanr(found["predicted"], found["observed"]).statistic
    assert found["spearman"] == pytest.approx(wanted)
    assert found["pearson"] == pytest.approx(np.corrcoef(found["predicted"], found["observed"])[0, 1])


def test_shuffled_clones_keep_their_sizes():
    scores = clones.Growth(np.repeat([0.25, 0.5, 0.75, 1.0, 1.25], 4), 0.0)
    found = clones.shuffled(scores, CODES, 300, np.random.default_rng(0))
    np.testing.assert_allclose(found["observed"], np.tile(scores(*CODES)["observed"], (300, 1)))
    assert abs(found["pearson"].mean()) < 0.1


def test_equal_masses_correlate_with_nothing():
    found = clones.Growth(np.full(20, 1 / 3), 0.0)(*CODES)
    assert np.isnan(found["pearson"]) and np.isnan(found["spearman"])


def test_shares_of_clusters_are_counted_by_clone():
    found = clones.clone_shares(np.array([0, 0, 1, 0, 2]), np.array([1, 1, 0, 0, 2]), 3)
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0], [1, 0, 0], [0, 0, 1]])


def test_fates_that_are_the_shares_are_calibrated():
    shares = np.array([[0.0, 1.0], [1.0, 0.0], [0.25, 0.75], [0.6, 0.4], [0.5, 0.5]])
    first, second = np.array([0, 1, 2, 3, 4, 4]), np.array([1, 1, 0, 2])
    found = clones.Fates([shares[first], shares[second]], shares)(first, second)
    for name in ("pearson", "auroc", "predicted", "observed", "ece"):
        assert found[name].shape == (3, 2)
    np.testing.assert_allclose(found["pearson"], 1)
    np.testing.assert_allclose(found["auroc"], 1)
    np.testing.assert_allclose(found["ece"], 0, atol=1e-12)
    np.testing.assert_allclose(found["observed"][:, 0], [2.85 / 6, 2.25 / 4, 0.51])
    np.testing.assert_allclose(found["predicted"], found["observed"])
    assert found["bin_cells"][:, 0].tolist() == [2, 0, 2, 0, 0, 2, 1, 0, 0, 3]
    np.testing.assert_allclose(found["clone_predicted"], shares)


@pytest.mark.parametrize(("told", "true"), [(0.9, 0.9), (0.9, 0.7), (0.45, 0.95)])
def test_calibration_error_is_known(told, true):
    rng = np.random.default_rng(0)
    p = np.full(20_000, told)
    found = clones.fate_scores(p, (rng.random(len(p)) < true).astype(float))
    assert found["ece"] == pytest.approx(abs(told - true), abs=0.01)
    assert found["predicted"] == pytest.approx(told) and found["observed"] == pytest.approx(true, abs=0.01)
    assert np.isnan(found["pearson"]) and found["auroc"] == 0.5


def test_errors_of_the_two_signs_in_different_tenths_do_not_cancel():
    found = clones.fate_scores(np.repeat([0.2, 0.8], 50), np.repeat([0.4, 0.6], 50))
    assert found["ece"] == pytest.approx(0.2) and found["pearson"] == pytest.approx(1)
    assert np.isnan(found["auroc"])  # no clone of one fate


def test_shuffled_fates_are_no_better_than_chance_and_keep_their_means():
    rng = np.random.default_rng(0)
    shares = np.eye(2)[rng.integers(0, 2, 40)]
    codes = [np.sort(rng.permutation(200) % 40)]
    scores = clones.Fates([shares[codes[0]]], shares)
    found = clones.shuffled(scores, codes, 200, np.random.default_rng(1))
    assert (scores(*codes)["auroc"] == 1).all()
    assert abs(found["auroc"].mean() - 0.5) < 0.02 and abs(found["pearson"].mean()) < 0.02
    np.testing.assert_allclose(found["observed"], np.tile(scores(*codes)["observed"], (200, 1, 1)))


def test_a_time_point_without_cells_has_no_scores():
    shares = np.eye(2)
    found = clones.Fates([np.empty((0, 2)), shares], shares)(np.empty(0, dtype=int), np.arange(2))
    assert all(np.isnan(found[name][0]).all() for name in ("pearson", "auroc", "predicted", "observed", "ece"))
    np.testing.assert_allclose(found["auroc"][1:], 1)


def test_probabilities_of_0_and_1_are_in_the_first_and_last_tenth():
    found = clones.calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert found["cells"].tolist() == [1] + [0] * 8 + [1]
    assert np.isnan(found["predicted"][1:-1]).all()


def test_large_snapshots_are_never_held_dense():
    rng = np.random.default_rng(0)
    n, clone = 50_000, np.arange(50_000) % 500
    column = (np.arange(n)[:, None] + 500 * rng.integers(0, 100, (n, 2))) % n  # of the same clone
    plan = csr_matrix((np.ones(2 * n), (np.repeat(np.arange(n), 2), column.ravel())), shape=(n, n))
    found = clones.Descent(plan, np.maximum(np.asarray(plan.sum(axis=0)).ravel(), 1))(clone, clone)
    assert found["share"] == 1
    reached = plan.nnz / (n * 100)
    assert found["auroc"] == pytest.approx(reached + (1 - reached) / 2)
