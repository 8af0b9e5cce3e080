"""The log density and its gradient, and what denoising on known populations teaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.training import matching
from vgfm_sc.core.training.matching import Batch, score_loss
from vgfm_sc.core.training.optim import Optimiser


def made(n_dims=3, width=16, depth=3, seed=0):
    return Networks(n_dims, width, depth, 2, torch.Generator().manual_seed(seed), with_score=True)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_score_is_the_gradient_of_the_log_density(depth):
    model = made(depth=depth).double()
    g = torch.Generator().manual_seed(1)
    x, t = torch.randn(20, 3, generator=g, dtype=torch.float64), torch.rand(20, generator=g, dtype=torch.float64)
    at = x.clone().requires_grad_()
    wanted = torch.autograd.grad(model.log_density(t, at).sum(), at)[0]
    torch.testing.assert_close(model.score(t, x), wanted)
    torch.testing.assert_close(model.score(0.3, x), model.score(torch.full((20,), 0.3, dtype=torch.float64), x))


def test_weights_of_velocity_and_growth_do_not_depend_on_whether_there_is_a_score():
    without = Networks(3, 16, 3, 2, torch.Generator().manual_seed(0))
    for name, value in without.state_dict().items():
        assert torch.equal(value, made().state_dict()[name])
    assert without.density is None


def batch(x, w, h, g):
    n = len(x)
    t = torch.rand(n, generator=g) - 0.5
    return Batch(t, x, x, t, w, x, torch.full((n,), h), torch.randn(x.shape, generator=g))


def test_loss_has_the_gradient_of_denoising_at_opposite_displacements():
    model, g = made(2, 4, 2).double(), torch.Generator().manual_seed(0)
    x, h = torch.randn(100, 2, generator=g, dtype=torch.float64), 0.5
    one = Batch(*(part.double() for part in batch(x, torch.rand(100, generator=g), h, g)[:-1]))
    score_loss(model, one).backward()
    learnt = [p for p in model.density.parameters() if p.grad is not None]  # all but the constant
    found = [p.grad.clone() for p in learnt]
    model.zero_grad()
    t, at, z, w = one.t[::2], one.on_path[::2], one.z[::2], one.w[::2]
    both = [(model.score(t, at + sign * h * z) + sign * z / h).square().mean(1) / 4 for sign in (1, -1)]
    (w * sum(both)).mean().backward()
    assert len(learnt) == len(list(model.density.parameters())) - 1
    for a, p in zip(found, learnt, strict=True):
        torch.testing.assert_close(a, p.grad)


@pytest.mark.parametrize("h", [0.02, 0.3])
def test_score_of_weighted_normal_cells_is_learnt_at_any_blur(h):
    """Cells of two clusters, one at twice the mass: the score of the mixture, blurred."""
    g = torch.Generator().manual_seed(0)
    model = made(1, 32, 3)
    optimiser = Optimiser(model.density, 0.01, 400)
    for _ in range(400):
        right = torch.rand(1024, generator=g) < 0.5
        x = (0.3 * torch.randn(1024, generator=g) + torch.where(right, 1.0, -1.0))[:, None]
        score_loss(model, batch(x, torch.where(right, 4 / 3, 2 / 3), h, g)).backward()
        optimiser.step()
    at = torch.linspace(-1.5, 1.5, 61)[:, None]
    variance = 0.3**2 + h**2
    parts = [share * np.exp(-((at.numpy() - c) ** 2) / 2 / variance) for share, c in ((1, -1), (2, 1))]
    wanted = sum(p * -(at.numpy() - c) / variance for p, c in zip(parts, (-1, 1), strict=True)) / sum(parts)
    with torch.no_grad():
        off = (model.score(0.0, at).numpy() - wanted) * np.sqrt(sum(parts) / sum(parts).sum())
    assert np.sqrt((off**2).sum()) < 0.25 * np.sqrt((wanted**2 * sum(parts) / sum(parts).sum()).sum())
    density = model.log_density(0.0, at).detach().numpy()
    assert abs((density[50] - density[10]) - np.log(2)) < 0.5


def test_every_second_sample_is_asked_for():
    asked = []
    model = made()
    model.score = lambda t, x: asked.append(len(x)) or torch.zeros_like(x)
    g = torch.Generator().manual_seed(0)
    matching.score_loss(model, batch(torch.randn(10, 3, generator=g), torch.ones(10), 0.1, g))
    assert asked == [10]
