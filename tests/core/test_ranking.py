from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vgfm_sc.core import ranking


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Expression of eight genes, the last constant, and two quantities."""
    rng = np.random.default_rng(0)
    genes = rng.standard_normal((60, 8)) + 4
    genes[:, 7] = 2.5
    return genes, genes[:, :2] * [1, -3] + rng.standard_normal((60, 2))


def test_correlations_and_their_p_values_are_those_of_scipy(data):
    genes, values = data
    cross = genes.T @ ranking.standardised(values) / 60
    sd = np.append(genes[:, :7].std(axis=0), 0)
    found = ranking.correlations(cross, sd, 60)
    for k in range(2):
        wanted = np.array([stats.pearsonr(gene, values[:, k]) for gene in genes[:, :7].T])
        np.testing.assert_allclose(found.scores[:7, k], wanted[:, 0])
        np.testing.assert_allclose(found.pvals[:7, k], wanted[:, 1])
        assert (found.scores[7, k], found.pvals[7, k]) == (0, 1)
        np.testing.assert_allclose(found.pvals_adj[:, k], stats.false_discovery_control(found.pvals[:, k]))


def test_a_perfect_correlation_has_no_doubt(data):
    found = ranking.correlations(np.array([[1.0], [-2.0]]), np.array([1.0, 2.0]), 60)
    assert found.scores.tolist() == [[1], [-1]] and not found.pvals.any()


def test_p_values_are_uniform_where_nothing_goes_together():
    rng = np.random.default_rng(0)
    genes, values = rng.standard_normal((30, 4000)), rng.standard_normal((30, 1))
    found = ranking.correlations(genes.T @ ranking.standardised(values) / 30, genes.std(axis=0), 30)
    assert stats.kstest(found.pvals[:, 0], "uniform").pvalue > 0.01
    assert found.pvals_adj.min() > 0.05


def test_standardised_leaves_rounding_alone():
    values = np.column_stack([np.arange(5.0), np.full(5, 0.3) + 1e-9 * np.arange(5), np.zeros(5)])
    found = ranking.standardised(values)
    np.testing.assert_allclose(found[:, 0], stats.zscore(np.arange(5)))
    assert not found[:, 1:].any()


@pytest.mark.parametrize("d", [1, 3])
def test_mean_velocities_are_a_t_test_on_the_velocities_of_genes(d):
    rng = np.random.default_rng(0)
    velocity, matrix, sd = rng.standard_normal((50, d)) + 0.3, rng.standard_normal((6, d)), rng.random(6) + 0.5
    matrix[4] = 0  # does not move
    sd[5] = 0
    found, t = ranking.mean_velocities(velocity, matrix, sd)
    of_genes = velocity @ matrix.T
    moving = [0, 1, 2, 3]
    wanted = stats.ttest_1samp(of_genes[:, moving], 0)
    np.testing.assert_allclose(t[moving], wanted.statistic)
    np.testing.assert_allclose(found.pvals[moving], wanted.pvalue)
    np.testing.assert_allclose(found.scores[moving], of_genes.mean(axis=0)[moving] / sd[moving])
    assert not found.scores[4:].any() and not t[4:].any() and (found.pvals[4:] == 1).all()


@pytest.mark.parametrize("n", [1, 7, 100, 500])
@pytest.mark.parametrize("chunk", [1, 64, 2**24])
def test_strongest_pairs_are_those_of_the_whole_matrix(n, chunk, monkeypatch):
    monkeypatch.setattr(ranking, "CHUNK_NUMBERS", chunk)
    rng = np.random.default_rng(0)
    targets, sources = rng.standard_normal((12, 3)), rng.standard_normal((20, 3))
    whole = targets @ sources.T
    found = ranking.strongest(targets, sources, n)
    assert len(found.weight) == min(n, 240)
    np.testing.assert_allclose(found.weight, whole[found.target, found.source])
    np.testing.assert_allclose(np.abs(found.weight), np.sort(np.abs(whole), axis=None)[::-1][:n])
    assert len(set(zip(found.source.tolist(), found.target.tolist(), strict=True))) == len(found.weight)
