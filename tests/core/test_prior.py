import numpy as np
import torch

from vgfm_sc.core import prior


def two_branches(n=80):
    rng = np.random.default_rng(0)
    return torch.as_tensor(np.concatenate([rng.normal(0, 1, (n, 2)), rng.normal(0, 1, (n, 2)) + [20, 0]]))


def test_total_is_kept_and_noise_within_a_branch_goes():
    x, n = two_branches(), 80
    truth = np.repeat([2.0, 0.5], n)
    noisy = truth * np.random.default_rng(1).lognormal(-0.125, 0.5, 2 * n)
    smooth = prior.smoothed(x, noisy, 1000)
    np.testing.assert_allclose(smooth.sum(), noisy.sum(), rtol=1e-4)
    for branch in (slice(None, n), slice(n, None)):
        assert smooth[branch].std() < 0.05 * noisy[branch].std()
        np.testing.assert_allclose(smooth[branch].mean(), noisy[branch].mean(), rtol=1e-3)


def test_branches_do_not_mix():
    smooth = prior.smoothed(two_branches(), np.repeat([1.0, 0.0], 80), 1000)
    np.testing.assert_allclose(smooth[:80], 1, atol=1e-3)
    assert smooth[80:].max() <= 1e-3


def test_a_slope_along_a_branch_is_taken_out():
    """What motion makes of growth at a small rho: more at the front, less at the back."""
    x = two_branches()[:80]
    slope = np.exp(0.5 * x[:, 0].numpy())
    assert prior.smoothed(x, slope, 1000).std() < 0.15 * slope.std()


def test_graph_is_symmetric_and_weighs_shared_neighbours():
    x = two_branches()
    graph = prior.neighbour_graph(x, 5, 37).toarray()
    distance = torch.cdist(x, x).numpy() + np.diag(np.full(len(x), np.inf))
    near = [set(np.argsort(row)[:5]) for row in distance]
    for i in range(len(x)):
        for j in range(len(x)):
            joined = j in near[i] or i in near[j]
            np.testing.assert_allclose(graph[i, j], joined * (len(near[i] & near[j]) / 5) ** 2)


def test_cells_at_one_point_are_no_trouble():
    x = torch.cat([torch.zeros(30, 2), torch.ones(30, 2)]).double()
    assert np.isfinite(prior.smoothed(x, np.random.default_rng(0).random(60), 1000)).all()
