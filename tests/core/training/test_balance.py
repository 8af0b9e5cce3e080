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
    networks = nets.Networks(2, 16, 2, len(TIMES), torch.Generator().manual_seed(seed)).double()
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
            course.append(flow.runge_kutta(networks, *course[-1], start, stop, 100))
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


def test_the_rate_is_common_to_all_cells_continuous_and_linear_between_time_points():
    networks, x = problem()
    with torch.no_grad():
        before = [networks(t, x)[1] for t in np.linspace(-1.2, 1.6, 57)]
        balance.balance(networks, x, TIMES, TOTALS)
        added = [networks(t, x)[1] - g for t, g in zip(np.linspace(-1.2, 1.6, 57), before, strict=True)]
    for part in added:
        torch.testing.assert_close(part, part[:1].expand_as(part))
    found = np.array([float(part[0]) for part in added])
    np.testing.assert_allclose(found, np.interp(np.linspace(-1.2, 1.6, 57), TIMES, networks.rates), atol=1e-9)


def test_the_rate_is_the_smallest_that_meets_the_totals():
    """Any other differs by a zigzag that adds nothing to any interval: the one found has no part in it."""
    networks, x = problem()
    balance.balance(networks, x, TIMES, TOTALS)
    zigzag = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    assert float(networks.rates @ zigzag) == pytest.approx(0, abs=1e-9)


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
