import numpy as np
import pytest
import torch

from vgfm_sc.core.dynamics import stored
from vgfm_sc.core.dynamics.networks import CONDITION_SIZE, NO_CONDITION, Networks
from vgfm_sc.core.training import balance


def made(n_conditions=3, n_nodes=4):
    networks = Networks(
        2, 16, 3, n_nodes, torch.Generator().manual_seed(0), with_score=True, n_conditions=n_conditions
    ).double()
    with torch.no_grad():
        networks.conditions *= 20  # far apart, so that one cannot be taken for another
    networks.keep_to(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    return networks


def cells(n=50):
    g = torch.Generator().manual_seed(1)
    return torch.rand(n, generator=g, dtype=torch.float64), torch.randn(n, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_networks_under_a_condition_answer_as_those_that_are_told_of_it(k):
    networks, (t, x) = made(), cells()
    alone = networks.under(k)
    told, of_each = torch.full((len(x),), k), torch.arange(len(x)) % 3
    for one, other in zip(alone.individual(t, x), networks.individual(t, x, k), strict=True):
        torch.testing.assert_close(one, other)
    for condition in (k, told):
        torch.testing.assert_close(alone.score(t, x), networks.score(t, x, condition))
    mine = of_each == k
    torch.testing.assert_close(networks.individual(t, x, of_each)[0][mine], alone.individual(t, x)[0][mine])
    others = networks.individual(t, x, (k + 1) % 3)[1]
    assert (others - alone.individual(t, x)[1]).abs().max() > 0.01
    assert alone.conditions is None and not any(name == "conditions" for name in alone.state_dict())


def test_no_condition_is_that_whose_numbers_are_0():
    networks, (t, x) = made(), cells()
    with torch.no_grad():
        networks.conditions[1] = 0
    for none in (NO_CONDITION, torch.full((len(x),), NO_CONDITION)):
        for one, other in zip(networks.individual(t, x, none), networks.individual(t, x, 1), strict=True):
            torch.testing.assert_close(one, other)


def test_without_conditions_nothing_is_added():
    plain = Networks(2, 8, 2, 2, torch.Generator().manual_seed(0), with_score=True)
    assert plain.velocity[0].in_features == 3 and plain.rates.shape == (2,) and "conditions" not in plain.state_dict()


def test_stored_networks_know_their_conditions():
    networks = made().float()
    again = stored.networks(stored.weights(networks), 2, 16, 3, n_times=3)
    t, x = (part.float() for part in cells())
    for one, other in zip(again.under(2).individual(t, x), networks.under(2).individual(t, x), strict=True):
        assert torch.equal(one, other)
    arrays = dict(stored.weights(networks))
    arrays["conditions"] = np.zeros((3, CONDITION_SIZE - 1), dtype=np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        stored.networks(arrays, 2, 16, 3, n_times=3)


def test_totals_of_each_condition_are_met_at_its_own_times():
    """The second condition has no cells at the middle time, the third none at the last."""
    networks, points = made(n_nodes=4), [-1.0, 0.0, 1.0]
    start = torch.randn(30, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    courses = [(points, [1.0, 3.0, 2.0]), ([-1.0, 1.0], [1.0, 5.0]), ([-1.0, 0.0], [1.0, 0.5])]
    for k, (times, totals) in enumerate(courses):
        balance.balance(networks, start, times, totals, k, points)
    from vgfm_sc.core.dynamics import flow

    for k, (times, totals) in enumerate(courses):
        alone = networks.under(k)
        _, log_m = flow.integrate(alone.individual, start, torch.zeros_like(start[:, 0]), times, tol=1e-6)
        mass = (log_m + alone.common_growth(times)[:, None]).exp().mean(dim=1)
        np.testing.assert_allclose(mass.detach().numpy(), totals, rtol=1e-3)
    assert networks.rates[2, 0] == networks.rates[2, -1] == networks.under(2)._common_rate(torch.tensor(0.0))
