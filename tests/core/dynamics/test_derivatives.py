from __future__ import annotations

import numpy as np
import pytest
import torch

from vgfm_sc.core.dynamics import clock, derivatives
from vgfm_sc.core.dynamics import networks as nets
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.scaling import Scaling

D = 5


@pytest.fixture(params=["all axes", "two of five", "uneven times"])
def model(request) -> Model:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((D, 2)))[0].T if request.param == "two of five" else None
    ticks = clock.ticks(np.array([0.0, 0.02, 0.5, 3.0])) if request.param == "uneven times" else None
    scaling = Scaling(rng.standard_normal(D), 3.0, 1.5, 0.5, axes, ticks)
    networks = nets.Networks(scaling.n_axes, 16, 3, 4, torch.Generator().manual_seed(0))
    networks.rates += torch.arange(4)  # depends on time alone, so no derivative may see it
    return Model(networks, scaling)


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.uniform(0, 3, 40), 3 * rng.standard_normal((40, D))


def differences(model, t, x, which, h=0.05):
    """Central differences of velocity (0) or growth (1), the position last."""
    steps = h * np.eye(D)
    return np.stack([(model(t, x + e)[which] - model(t, x - e)[which]) / (2 * h) for e in steps], axis=-1)


@pytest.mark.parametrize("size", [7, 100])
def test_growth_gradients_are_differences_of_the_model(model, cells, size):
    blocks = list(derivatives.growth_gradients(model, *cells, size))
    assert max(map(len, blocks)) == min(size, 40)
    wanted = differences(model, *cells, 1)
    np.testing.assert_allclose(np.concatenate(blocks), wanted, atol=2e-3 * np.abs(wanted).max())


def test_velocity_jacobian_is_the_mean_of_differences_of_the_model(model, cells, monkeypatch):
    found, axes = derivatives.velocity_jacobian(model, *cells), model.scaling.axes
    wanted = differences(model, *cells, 0).mean(axis=0)
    whole = found if axes is None else axes.T @ found @ axes
    np.testing.assert_allclose(whole, wanted, atol=2e-3 * np.abs(wanted).max())
    monkeypatch.setattr(derivatives, "BLOCK_CELLS", 9)
    np.testing.assert_allclose(derivatives.velocity_jacobian(model, *cells), found, rtol=1e-5, atol=1e-7)


def test_a_linear_field_is_found_exactly(model, cells):
    """dv/dx = A / time_unit whatever the unit of length; dg/dx = b / (length * time_unit) along the axes."""
    scaling, q = model.scaling, model.scaling.n_axes
    model.networks.velocity = torch.nn.Linear(q + 1, q)
    model.networks.growth = torch.nn.Linear(q + 1, 1)
    matrix, slope = (part.weight.detach().double().numpy()[:, :q] for part in model.networks.children())
    unit = scaling.time_unit_at(cells[0])
    np.testing.assert_allclose(derivatives.velocity_jacobian(model, *cells), matrix * (1 / unit).mean(), rtol=1e-6)
    wanted = (slope if scaling.axes is None else slope @ scaling.axes) / (3.0 * unit[:, None])
    (found,) = derivatives.growth_gradients(model, *cells, 100)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_gradients_switched_off_around_the_call_do_not_matter(model, cells):
    with torch.no_grad():
        derivatives.velocity_jacobian(model, *cells)
        list(derivatives.growth_gradients(model, *cells, 100))
