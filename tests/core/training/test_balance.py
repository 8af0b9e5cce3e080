import numpy as np
import pytest
import torch

from vgfm_sc.core.dynamics import flow
from vgfm_sc.core.dynamics import networks as nets
from vgfm_sc.core.training import balance

TIMES = [-1.2, -0.9, 0.4, 1.6]
TOTALS = [1.0, 1.7, 0.6, 4.0]


def problem(seed=0):
    """Networks in double precision with some growth of their own, and cells."""
    networks = nets.Networks(2, 16, 2, 2 * len(TIMES) - 2, torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        networks.growth[-1].weight *= 5
    x = torch.randn(80, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return networks, x


def followed(networks, x):
    """Positions and log masses at ``TIMES``, integrated from one to the next with small steps."""
    log_m = torch.zeros_like(x[:, 0])
    course = [(x, log_m)]
    with torch.no_grad():
        for start, stop in zip(TIMES[:-1], TIMES[1:], strict=True):
            reached = flow.runge_kutta(networks.individual, *course[-1], start, stop, 100)
            course.append((reached[0], reached[1] + networks.common_growth([start, stop])[1]))
    return (torch.stack(parts) for parts in zip(*course, strict=True))


def test_totals_are_met_at_uneven_times_and_nothing_else_changes():
    networks, x = problem()
    positions, log_m = followed(networks, x)
    balance.balance(networks, x, TIMES, TOTALS)
    new_positions, new_log_m = followed(networks, x)
    np.testing.assert_allclose(new_log_m.exp().mean(1), TOTALS, rtol=1e-5)
    torch.testing.assert_close(new_positions, positions)
    torch.testing.assert_close(new_log_m.softmax(1), log_m.softmax(1), rtol=1e-9, atol=0)


def test_chunks_change_nothing(monkeypatch):
    (networks, x), (again, _) = problem(), problem()
    balance.balance(networks, x, TIMES, TOTALS)
    monkeypatch.setattr(balance, "BLOCK_CELLS", 7)
    balance.balance(again, x, TIMES, TOTALS)
    torch.testing.assert_close(again.rates, networks.rates, rtol=1e-4, atol=1e-4)


def test_the_rate_is_common_to_all_cells_and_constant_between_time_points():
    networks, x = problem()
    asked = [-1.2, -1.0, -0.9, -0.8, 0.3, 0.4, 1.0, 1.6]
    with torch.no_grad():
        before = [networks(t, x)[1] for t in asked]
        balance.balance(networks, x, TIMES, TOTALS)
        added = [networks(t, x)[1] - g for t, g in zip(asked, before, strict=True)]
    for part in added:
        torch.testing.assert_close(part, part[:1].expand_as(part))
    first, second, third = networks.rates[::2].tolist()
    wanted = [first, first, (first + second) / 2, second, second, (second + third) / 2, third, third]
    np.testing.assert_allclose([float(part[0]) for part in added], wanted, atol=1e-9)


@pytest.mark.parametrize("k", range(3))
def test_a_surplus_in_one_interval_leaves_the_others_alone(k):
    (networks, x), (other, _) = problem(), problem()
    balance.balance(networks, x, TIMES, TOTALS)
    more = np.asarray(TOTALS)
    more[k + 1 :] *= 3
    balance.balance(other, x, TIMES, more)
    change = np.zeros(3)
    change[k] = np.log(3) / (TIMES[k + 1] - TIMES[k])
    np.testing.assert_allclose((other.rates - networks.rates)[::2], change, atol=1e-9)


def test_networks_that_meet_the_totals_are_left_alone():
    networks, x = problem()
    balance.balance(networks, x, TIMES, TOTALS)
    once = networks.rates.clone()
    balance.balance(networks, x, TIMES, TOTALS)
    torch.testing.assert_close(networks.rates, once, rtol=0, atol=1e-4)


def test_one_interval_gets_a_constant_rate():
    networks = nets.Networks(2, 8, 2, 2, torch.Generator().manual_seed(0))
    for p in networks.growth.parameters():
        torch.nn.init.zeros_(p)
    balance.balance(networks, torch.randn(5, 2), [-0.5, 0.5], [1.0, 3.0])
    torch.testing.assert_close(networks.rates, torch.full((2,), float(np.log(3.0))))
