"""Metrics, networks, optimiser, stored weights, devices, model."""

import copy
import tracemalloc

import numpy as np
import pytest
import torch

from vgfm_sc.core import device
from vgfm_sc.core.dynamics import flow, stored
from vgfm_sc.core.dynamics import networks as nets
from vgfm_sc.core.dynamics import perceptron as perceptrons
from vgfm_sc.core.dynamics.model import Model
from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading import distances
from vgfm_sc.core.training import optim


def test_w1_of_a_translation_is_its_length():
    x = np.random.default_rng(0).standard_normal((40, 3))
    assert distances.wasserstein1(x, x + [3.0, 0, 4.0]) == pytest.approx(5.0)


def test_w1_in_one_dimension_agrees_with_scipy():
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    x, y, mass = rng.standard_normal(30), rng.standard_normal(50) + 1, rng.random(30)
    assert distances.wasserstein1(x[:, None], y[:, None], mass) == pytest.approx(wasserstein_distance(x, y, mass))


def test_energy_distance_in_one_dimension_agrees_with_scipy():
    from scipy.stats import energy_distance

    rng = np.random.default_rng(0)
    x, y, mass = rng.standard_normal((30, 1)), rng.standard_normal((50, 1)) + 1, rng.random(30)
    # scipy's is the square root, and counts the pairs of a point with itself
    p, q = mass / mass.sum(), np.full(50, 1 / 50)
    of_x, of_y = (float(w @ abs(z - z.T) @ w) for w, z in ((p, x), (q, y)))
    among = of_x * (1 / (1 - (p**2).sum()) - 1) + of_y * (1 / (1 - (q**2).sum()) - 1)
    wanted = energy_distance(x[:, 0], y[:, 0], mass) ** 2 - among
    assert distances.energy_distance(x, y, mass) == pytest.approx(wanted)


def test_energy_distance_between_samples_of_one_population_is_0_on_average_and_any_mass_may_be_cut():
    rng = np.random.default_rng(0)
    found = [distances.energy_distance(*rng.standard_normal((2, 40, 5))) for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 300**0.5
    x, y, mass = rng.standard_normal((20, 3)), rng.standard_normal((30, 3)), rng.random(20)
    whole = distances.energy_distance(x, y, mass)
    assert distances.energy_distance(x, y, 7 * mass) == pytest.approx(whole)


def test_energy_distance_does_not_depend_on_its_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    x, y, mass = rng.standard_normal((20, 3)), rng.standard_normal((30, 3)), rng.random(20)
    whole = distances.energy_distance(x, y, mass)
    monkeypatch.setattr(distances, "BLOCK_NUMBERS", 70)
    assert distances.energy_distance(x, y, mass) == pytest.approx(whole)


@pytest.mark.parametrize("m", [4, 7, 30])
def test_energy_floor_is_the_quantile_of_random_halves_brought_to_the_sizes_compared(m):
    y, mass = np.random.default_rng(0).standard_normal((m, 3)), np.array([1.0, 1, 1, 3])
    rng, half = np.random.default_rng(1), m // 2
    orders = [rng.permutation(m) for _ in range(distances.ENERGY_SPLITS)]
    energies = [distances.energy_distance(y[order[:half]], y[order[half:]]) for order in orders]
    wanted = np.quantile(energies, 0.95) * (1 / 3 + 1 / m) / (1 / half + 1 / (m - half))  # 3 is 6**2 / 12
    assert distances.energy_floor(y, mass, np.random.default_rng(1)) == pytest.approx(wanted)


def test_energy_floor_does_not_depend_on_its_blocks(monkeypatch):
    y, mass = np.random.default_rng(0).standard_normal((30, 3)), np.ones(20)
    whole = distances.energy_floor(y, mass, np.random.default_rng(1))
    monkeypatch.setattr(distances, "BLOCK_NUMBERS", 70)
    assert distances.energy_floor(y, mass, np.random.default_rng(1)) == pytest.approx(whole)


def test_one_in_twenty_samples_of_one_population_is_above_the_energy_floor():
    rng, above = np.random.default_rng(0), 0
    for _ in range(200):
        x, y = rng.standard_normal((40, 3)), rng.standard_normal((60, 3))
        above += distances.energy_distance(x, y) > distances.energy_floor(y, np.ones(40), rng)
    assert 2 <= above <= 20  # 10 expected, give or take 3


def test_energy_floor_of_fewer_than_four_points_is_not_known():
    assert np.isnan(distances.energy_floor(np.arange(6.0).reshape(3, 2), np.ones(5), np.random.default_rng(0)))


def test_spread_is_the_ratio_of_total_variances():
    rng = np.random.default_rng(0)
    x, mass = rng.standard_normal((40, 3)), rng.random(40)
    assert distances.spread(2 * x + 5, x) == pytest.approx(4)
    wanted = distances.total_variance(x, mass) / distances.total_variance(x)
    assert distances.spread(x, x, mass) == pytest.approx(wanted)
    assert np.isnan(distances.spread(x, np.ones((5, 3))))


def test_total_variance_is_numpys_and_takes_masses():
    x = np.random.default_rng(0).standard_normal((40, 3))
    assert distances.total_variance(x) == pytest.approx(x.var(axis=0, ddof=1).sum())
    mass = np.arange(40.0)
    wanted = np.cov(x.T, aweights=mass, ddof=1).trace()
    assert distances.total_variance(x, mass) == pytest.approx(wanted)


def test_relative_mass_error():
    assert distances.relative_mass_error(90.0, 100.0) == pytest.approx(0.1)


def test_displacement_interpolation_of_a_translation_is_the_translation():
    x = np.random.default_rng(0).standard_normal((40, 3))
    found, weight = distances.displacement_interpolation(x, x[::-1] + [3.0, 0, 4.0], 0.3)
    assert weight.sum() == pytest.approx(1)
    assert distances.wasserstein1(found, x + [0.9, 0, 1.2], weight) == pytest.approx(0, abs=1e-6)


def test_networks_are_seeded_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, again, other = (nets.Networks(3, 8, 2, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    for found, wanted in zip(again.state_dict().values(), first.state_dict().values(), strict=True):
        assert torch.equal(found, wanted)
    assert not torch.equal(first.velocity[0].weight, other.velocity[0].weight)


def test_layers_are_initialised_as_torch_does_it():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        wanted = [torch.nn.Linear(5, 7), torch.nn.Linear(7, 2)]
    draw = torch.Generator().manual_seed(3)
    for layer in wanted:
        found = torch.nn.Linear(layer.in_features, layer.out_features)
        perceptrons.initialise(found, draw)
        assert torch.equal(found.weight, layer.weight) and torch.equal(found.bias, layer.bias)


def test_networks_take_one_time_or_many():
    model, x = nets.Networks(3, 8, 2, 4, torch.Generator().manual_seed(0)), torch.randn(5, 3)
    v, g = model(0.3, x)
    assert v.shape == (5, 3) and g.shape == (5,)
    model.rates.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
    for t in (-1.0, 0.0, 0.3, 1.0, 2.9, 4.0):
        for one, many in zip(model(t, x), model(torch.full((5,), t), x), strict=True):
            torch.testing.assert_close(one, many)


def test_growth_is_a_smaller_network_than_velocity():
    model = nets.Networks(3, 8, 3, 2, torch.Generator().manual_seed(0))
    shapes = [[tuple(p.shape) for p in part.parameters() if p.ndim == 2] for part in (model.velocity, model.growth)]
    assert shapes == [[(8, 4), (8, 8), (8, 8), (3, 8)], [(4, 4), (4, 4), (1, 4)]]
    assert nets.Networks(3, 1, 1, 2, torch.Generator().manual_seed(0))(0.0, torch.zeros(2, 3))[1].shape == (2,)


def test_outside_the_box_the_answer_is_that_of_its_nearest_point_and_fades():
    g = torch.Generator().manual_seed(0)
    model, x = nets.Networks(3, 16, 2, 2, torch.Generator().manual_seed(0)), torch.randn(50, 3, generator=g)
    free = nets.Networks(3, 16, 2, 2, torch.Generator().manual_seed(0))
    model.keep_to(x)
    far = 10 * x
    edge = torch.minimum(torch.maximum(far, model.low), model.high)
    for found, wanted in zip(model(0.2, far), free(0.2, edge), strict=True):  # while it is trained
        assert torch.equal(found, wanted)
    model.settle()
    low, high = x.amin(0), x.amax(0)
    torch.testing.assert_close(model.low, low - nets.MARGIN * (high - low))
    torch.testing.assert_close(model.high, high + nets.MARGIN * (high - low))
    for far in (10 * x, x + torch.tensor([100.0, 0.0, 0.0])):
        nearest = torch.minimum(torch.maximum(far, model.low), model.high)
        assert not torch.equal(nearest, far)
        squared = ((far - nearest) / (nets.MARGIN * (high - low))) ** 2
        shares = torch.exp(1 - (1 + squared).sqrt()), torch.exp(1 - (1 + squared.sum(1)).sqrt())
        for found, edge, left, loose in zip(model(0.2, far), free(0.2, nearest), shares, free(0.2, far), strict=True):
            torch.testing.assert_close(found, edge * left)
            assert not torch.allclose(found, loose)
    for found, wanted in zip(model(0.2, x), free(0.2, x), strict=True):  # within it nothing changes
        assert torch.equal(found, wanted)


def test_a_cell_that_strays_is_not_carried_off_and_comes_back_backward():
    model = nets.Networks(2, 8, 2, 2, torch.Generator().manual_seed(0))
    model.keep_to(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    model.settle()
    with torch.no_grad():
        for network in (model.velocity, model.growth):
            network[-1].weight.zero_()
            network[-1].bias.fill_(10.0)
    x, zero = torch.tensor([[0.5, 0.0], [-1.0, 0.9]]), torch.zeros(2)
    there, log_m = flow.integrate(model.individual, x, zero, [0.0, 2.0], tol=1e-6)
    assert there[-1].max() < 1.2 + 6 * 0.2  # 20 without
    back, left = flow.integrate(model.individual, there[-1], log_m[-1], [2.0, 0.0], tol=1e-6)
    torch.testing.assert_close(back[-1], x, rtol=0, atol=1e-3)
    torch.testing.assert_close(left[-1], zero, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("n_dims", "share"), [(2, 1.0), (29, 0.1)])
def test_layers_that_take_many_axes_learn_more_slowly(n_dims, share):
    model, x = nets.Networks(n_dims, 8, 2, 2, torch.Generator().manual_seed(0)), torch.ones(4, n_dims)
    optimiser = optim.Optimiser(model, 0.01, 10, model.input_layers())
    optimiser.step_count = 1  # the first step of all has the rate 0
    before = [network[k].weight.detach().clone() for network in (model.velocity, model.growth) for k in (0, 2)]
    v, g = model(0.0, x)
    (v.sum() + g.sum()).backward()
    optimiser.step()
    after = [network[k].weight.detach() for network in (model.velocity, model.growth) for k in (0, 2)]
    moved = [(a - b).abs().max() for a, b in zip(after, before, strict=True)]
    torch.testing.assert_close(torch.stack(moved[::2]), share * torch.stack(moved[1::2]), rtol=1e-3, atol=0)


def test_optimiser_solves_a_regression_and_its_rate_ends_at_zero():
    g = torch.Generator().manual_seed(0)
    model, x = perceptrons.perceptron(2, 1, 32, 3), torch.randn(256, 2, generator=g)
    for layer in model[::2]:
        perceptrons.initialise(layer, g)
    y = torch.sin(2 * x[:, :1]) * x[:, 1:]
    optimiser = optim.Optimiser(model, 0.02, 300)
    for _ in range(300):
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01 * float(y.var())
    assert optim.schedule(0.0) == 0 and optim.schedule(1.0) == pytest.approx(0)
    assert max(optim.schedule(k / 100) for k in range(101)) == pytest.approx(1)


def regression(model, steps, take_step):
    """Weights after ``steps`` of one regression, each by ``take_step(k, loss)``."""
    g = torch.Generator().manual_seed(1)
    x = torch.randn(64, 2, generator=g)
    for k in range(steps):
        take_step(k, (model(x) - x.prod(dim=1, keepdim=True)).square().mean())
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def perceptron_of_seed(seed):
    model, g = perceptrons.perceptron(2, 1, 16, 2), torch.Generator().manual_seed(seed)
    for layer in model[::2]:
        perceptrons.initialise(layer, g)
    return model


def test_steps_are_those_of_adam():
    lr, n_steps = 0.01, 200
    mine, theirs = perceptron_of_seed(0), perceptron_of_seed(0)
    optimiser = optim.Optimiser(mine, lr, n_steps)
    adam = torch.optim.Adam(theirs.parameters(), lr=lr, betas=optim.BETAS)

    def own(k, loss):
        loss.backward()
        optimiser.step()

    def reference(k, loss):
        adam.param_groups[0]["lr"] = lr * optim.schedule(k / n_steps)
        adam.zero_grad()
        loss.backward()
        adam.step()

    start = regression(perceptron_of_seed(0), 0, None)
    found, wanted = regression(mine, 20, own), regression(theirs, 20, reference)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert float((wanted - start).abs().max()) > 1e-2
    assert not any(p.grad.any() for p in mine.parameters())


def test_weights_without_a_gradient_stay():
    model = perceptron_of_seed(0)
    before = [p.detach().clone() for p in model.parameters()]
    optimiser = optim.Optimiser(model, 0.01, 10)
    for _ in range(3):
        model[0].weight.sum().backward()
        optimiser.step()
    assert not torch.equal(model[0].weight, before[0])
    for p, old in zip(list(model.parameters())[1:], before[1:], strict=True):
        assert torch.equal(p, old)


def test_average_follows_and_leaves_what_it_follows():
    model = perceptron_of_seed(0)
    average, optimiser = optim.Average(model), optim.Optimiser(model, 0.01, 10)
    before = average.values.clone()
    with torch.no_grad():
        optimiser.values.add_(1.0)
    assert torch.equal(average.values, before)
    average.follow(optimiser.values, 0.25)
    torch.testing.assert_close(average.networks[0].weight, model[0].weight - 0.75)
    kept = copy.deepcopy(average.networks)
    average.follow(optimiser.values, 1.0)
    torch.testing.assert_close(kept[0].weight, model[0].weight - 0.75)


def test_weights_go_to_arrays_and_back():
    model = nets.Networks(3, 8, 2, 4, torch.Generator().manual_seed(0))
    model.keep_to(torch.randn(9, 3))
    model.rates += 0.3
    arrays = stored.weights(model)
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    again, x = stored.networks(arrays, 3, 8, 2, 4), 3 * torch.randn(4, 3)
    for found, wanted in zip(again(0.1, x), model(0.1, x), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("change", ["drop", "shape", "extra"])
def test_weights_that_do_not_fit_are_refused(change):
    arrays = dict(stored.weights(nets.Networks(3, 8, 2, 4, torch.Generator().manual_seed(0))))
    if change == "drop":
        del arrays["growth.0.bias"]
    elif change == "shape":
        arrays["growth.0.bias"] = np.zeros(9)
    else:
        arrays["more"] = np.zeros(1)
    with pytest.raises(ValueError, match="Stored weights do not fit"):
        stored.networks(arrays, 3, 8, 2, 4)


def test_threads_are_those_that_the_work_is_worth_and_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with device.threads_for(device.PER_THREAD // 2):
            assert torch.get_num_threads() == 1
        with device.threads_for(2 * device.PER_THREAD):
            assert torch.get_num_threads() == 2
        with device.threads_for(100 * device.PER_THREAD):
            assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), device.threads_for(1):
            _ = 1 / 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_devices():
    assert device.choose("cpu").type == "cpu"
    assert device.choose("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match=r"Unknown device 'tpu9'.*cpu"):
        device.choose("tpu9")
    with pytest.raises(ValueError, match="not available"):
        device.choose("xpu")
    with pytest.raises(TypeError, match="string"):
        device.choose(0)


def test_model_answers_in_the_users_units():
    networks = nets.Networks(2, 8, 2, 4, torch.Generator().manual_seed(0))
    scaling = Scaling(np.array([100.0, -50.0]), 20.0, 7.0, 2.0)
    x = np.random.default_rng(0).standard_normal((6, 2)) * 20 + scaling.centre
    v, g = Model(networks, scaling)(9.0, x)
    v0, g0 = networks(1.0, torch.as_tensor(scaling.to_unitless(x), dtype=torch.float32))
    np.testing.assert_allclose(v, v0 * 10.0, rtol=1e-5)
    np.testing.assert_allclose(g, g0 / 2.0, rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(6, 3\).*\(n, 2\)"):
        Model(networks, scaling)(9.0, np.ones((6, 3)))


def test_model_simulates_what_it_says(monkeypatch):
    """The slope of a short simulation is the velocity; blocks change nothing."""
    networks = nets.Networks(2, 8, 2, 4, torch.Generator().manual_seed(0))
    model = Model(networks, Scaling(np.array([100.0, -50.0]), 20.0, 7.0, 2.0))
    x = np.random.default_rng(0).standard_normal((7, 2)) * 20 + [100, -50]
    v, g = model(7.0, x)
    positions, mass = model.simulate(x, [7.0, 7.01], tol=1e-8)
    np.testing.assert_allclose((positions[1] - positions[0]) / 0.01, v, rtol=2e-2, atol=2e-2)
    np.testing.assert_allclose(np.log(mass[1]) / 0.01, g, rtol=2e-2, atol=1e-3)
    monkeypatch.setattr("vgfm_sc.core.dynamics.model.BLOCK_CELLS", 3)
    np.testing.assert_allclose(model.simulate(x, [7.0, 7.01], tol=1e-8)[0], positions, rtol=1e-6)
    np.testing.assert_allclose(model(7.0, x)[0], v, rtol=1e-5)


def test_a_model_is_asked_of_many_cells_without_further_copies_of_them():
    model = Model(nets.Networks(5, 8, 2, 4, torch.Generator().manual_seed(0)), Scaling(np.ones(5), 2.0, 7.0, 2.0))
    x = np.random.default_rng(0).standard_normal((200_000, 5))
    tracemalloc.start()
    v, g = model(7.0, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert v.shape == x.shape and g.shape == (len(x),)
    assert peak < 1.5 * (v.nbytes + g.nbytes)


def test_common_growth_is_the_integral_of_the_common_rate():
    model = nets.Networks(1, 4, 1, 4, torch.Generator().manual_seed(0))
    model.times.copy_(torch.tensor([-1.0, 0.5, 1.0, 3.0]))
    model.rates.copy_(torch.tensor([1.0, -2.0, 0.5, 4.0]))
    for times in ([-1.0, 3.0], [2.0, 0.7, -0.3], [-1.0, -0.5, 0.5, 0.5, 2.9]):
        found = model.common_growth(times)
        for t, growth in zip(times, found, strict=True):
            fine = np.linspace(times[0], t, 200_001)
            rate = np.interp(fine, model.times, model.rates)
            assert float(growth) == pytest.approx(np.trapezoid(rate, fine), abs=1e-4)


def test_a_common_rate_may_jump_at_a_time_point():
    model = nets.Networks(1, 4, 1, 4, torch.Generator().manual_seed(0))
    model.times.copy_(torch.tensor([-1.0, 1.0, 1.0, 2.0]))
    model.rates.copy_(torch.tensor([0.5, 0.5, -2.0, -2.0]))
    np.testing.assert_allclose(model.common_growth([-2.0, 0.0, 1.0, 1.5, 3.0]), [0, 1, 1.5, 0.5, -2.5])
    x = torch.zeros(5, 1)
    t = torch.tensor([-1.0, 0.9, 1.0, 1.1, 2.0])
    added = model(t, x)[1] - model.individual(t, x)[1]
    torch.testing.assert_close(added, torch.tensor([0.5, 0.5, -0.75, -2.0, -2.0]))
