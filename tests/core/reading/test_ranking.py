from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from vgfm_sc.core.reading import ranking


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Expression of eight genes, the last constant, and two quantities."""
    rng = np.random.default_rng(0)
    genes = rng.standard_normal((60, 8)) + 4
    genes[:, 7] = 2.5
    return genes, genes[:, :2] * [1, -3] + rng.standard_normal((60, 2))


def test_correlations_and_their_p_values_are_those_of_scipy(data):
    genes, values = data
    cross = genes.T @ ranking.standardised(values, np.zeros(60, dtype=int)) / 60
    sd = np.append(genes[:, :7].std(axis=0), 0)
    found = ranking.correlations(cross, sd, 60, 1)
    for k in range(2):
        wanted = np.array([stats.pearsonr(gene, values[:, k]) for gene in genes[:, :7].T])
        np.testing.assert_allclose(found.scores[:7, k], wanted[:, 0])
        np.testing.assert_allclose(found.pvals[:7, k], wanted[:, 1])
        assert (found.scores[7, k], found.pvals[7, k]) == (0, 1)
        np.testing.assert_allclose(found.pvals_adj[:, k], stats.false_discovery_control(found.pvals[:, k]))


def test_within_groups_the_p_value_is_that_of_a_regression_with_their_means(data):
    genes, values = data[0][:, :7], data[1]
    groups = np.arange(60) % 3
    genes = genes + 5 * groups[:, None]  # which no correlation within groups may see
    means = np.eye(3)[groups]
    left = genes - means @ np.linalg.lstsq(means, genes)[0]
    z = ranking.standardised(values - 7 * groups[:, None], groups)
    np.testing.assert_allclose(means.T @ z, 0, atol=1e-10)
    found = ranking.correlations(genes.T @ z / 60, left.std(axis=0), 60, 3)
    for gene in range(7):
        design = np.column_stack([genes[:, gene], means])
        slope, rest = np.linalg.lstsq(design, values[:, 1])[:2]
        error = np.sqrt(rest[0] / 56 * np.linalg.inv(design.T @ design)[0, 0])
        np.testing.assert_allclose(found.pvals[gene, 1], 2 * stats.t.sf(abs(slope[0]) / error, 56))
        assert np.sign(found.scores[gene, 1]) == np.sign(slope[0])


def test_a_perfect_correlation_has_no_doubt(data):
    found = ranking.correlations(np.array([[1.0], [-2.0]]), np.array([1.0, 2.0]), 60, 1)
    assert found.scores.tolist() == [[1], [-1]] and not found.pvals.any()


def test_p_values_are_uniform_where_nothing_goes_together():
    rng = np.random.default_rng(0)
    genes, values = rng.standard_normal((30, 4000)), rng.standard_normal((30, 1))
    groups = np.repeat([0, 1, 2], 10)
    left = (genes.reshape(3, 10, -1) - genes.reshape(3, 10, -1).mean(axis=1, keepdims=True)).reshape(30, -1)
    found = ranking.correlations(genes.T @ ranking.standardised(values, groups) / 30, left.std(axis=0), 30, 3)
    assert stats.kstest(found.pvals[:, 0], "uniform").pvalue > 0.01
    assert found.pvals_adj.min() > 0.05


def test_standardised_leaves_rounding_alone():
    values = np.column_stack([np.arange(5.0), np.full(5, 0.3) + 1e-9 * np.arange(5), np.zeros(5)])
    found = ranking.standardised(values, np.zeros(5, dtype=int))
    np.testing.assert_allclose(found[:, 0], stats.zscore(np.arange(5)))
    assert not found[:, 1:].any()


@pytest.mark.parametrize("d", [1, 3])
def test_mean_velocities_are_a_t_test_on_the_velocities_of_genes(d):
    rng = np.random.default_rng(0)
    velocity, matrix, sd = rng.standard_normal((50, d)) + 0.3, rng.standard_normal((6, d)), rng.random(6) + 0.5
    matrix[4] = 0  # does not move
    sd[5] = 0
    found = ranking.mean_velocities(velocity, matrix, sd)
    of_genes = velocity @ matrix.T
    moving = [0, 1, 2, 3]
    wanted = stats.ttest_1samp(of_genes[:, moving], 0)
    np.testing.assert_allclose(found.t[moving], wanted.statistic)
    np.testing.assert_allclose(found.pvals[moving], wanted.pvalue)
    np.testing.assert_allclose(found.scores[moving], of_genes.mean(axis=0)[moving] / sd[moving])
    assert not found.scores[4:].any() and not found.t[4:].any() and (found.pvals[4:] == 1).all()


def test_a_velocity_that_all_cells_share_has_no_doubt():
    found = ranking.mean_velocities(np.full((9, 1), 0.5), np.array([[2.0], [-1.0], [0.0]]), np.ones(3))
    assert found.scores.tolist() == [1, -0.5, 0] and found.t.tolist() == [np.inf, -np.inf, 0]
    assert found.pvals.tolist() == [0, 0, 1]


@pytest.mark.parametrize("n", [1, 7, 100, 500])
@pytest.mark.parametrize("chunk", [1, 64, 2**24])
def test_strongest_pairs_are_those_of_the_whole_matrix(n, chunk, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_NUMBERS", chunk)
    rng = np.random.default_rng(0)
    targets, sources = rng.standard_normal((12, 3)), rng.standard_normal((20, 3))
    whole = targets @ sources.T
    found = ranking.strongest(targets, sources, n)
    assert len(found.weight) == min(n, 240)
    np.testing.assert_allclose(found.weight, whole[found.target, found.source])
    np.testing.assert_allclose(np.abs(found.weight), np.sort(np.abs(whole), axis=None)[::-1][:n])
    assert len(set(zip(found.source.tolist(), found.target.tolist(), strict=True))) == len(found.weight)


def test_mean_velocities_of_genes_themselves_need_no_matrix():
    rng = np.random.default_rng(0)
    velocity, sd = rng.standard_normal((30, 6)), np.array([1.0, 2, 0, 1, 3, 1])
    for found, wanted in zip(
        ranking.mean_velocities(velocity, None, sd), ranking.mean_velocities(velocity, np.eye(6), sd), strict=True
    ):
        np.testing.assert_allclose(found, wanted)


def test_mean_velocities_of_many_genes_take_little_memory():
    """Products of all genes with all would take gigabytes."""
    velocity = np.random.default_rng(0).standard_normal((20, 20_000))
    tracemalloc.start()
    ranking.mean_velocities(velocity, None, np.ones(20_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * velocity.nbytes
