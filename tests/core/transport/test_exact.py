import numpy as np
import ot
import pytest
import torch

from vgfm_sc.core.transport import exact


def w1(x, log_m, y):
    return exact.added(exact.plain(x, log_m, y)).sum()


def debiased(x, log_m, y):
    return exact.added(exact.debiased(x, log_m, y)).sum()


def test_transport_is_the_exact_distance():
    g = torch.Generator().manual_seed(0)
    x, y, log_m = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((30, 3), (20, 3), (30,)))
    mass = log_m.exp().numpy()
    exact = ot.emd2(mass / mass.sum(), ot.unif(20), ot.dist(x.numpy(), y.numpy(), metric="euclidean"))
    assert float(w1(x, log_m, y)) == pytest.approx(exact, rel=1e-9)
    assert float(w1(y, torch.zeros(20, dtype=torch.float64), y)) == pytest.approx(0, abs=1e-9)


def test_debiased_distance_is_zero_on_average_for_equal_populations_and_grows_with_a_shift():
    g = torch.Generator().manual_seed(0)

    def sample(shift=0.0, spread=1.0):
        return spread * torch.randn(60, 2, generator=g) + shift

    def mean(**changes):
        draws = [debiased(sample(**changes), torch.zeros(60), sample()) for _ in range(100)]
        return float(torch.stack(draws).mean())

    plain = np.mean([float(w1(sample(), torch.zeros(60), sample())) for _ in range(20)])
    assert abs(mean()) < 0.05 * plain
    assert mean(shift=1.0) > 0.5
    # cells drawn together do not score better than the true spread, as they do without the correction
    assert mean(spread=0.8) > mean() + 0.01


@pytest.mark.parametrize("of", ["positions", "masses"])
def test_gradient_of_the_debiased_distance_agrees_with_finite_differences(of):
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, 2, generator=g, dtype=torch.float64) for _ in range(2))
    log_m = 0.3 * torch.randn(20, generator=g, dtype=torch.float64)
    variable = x if of == "positions" else log_m
    variable.requires_grad_(True)
    debiased(x, log_m, y).backward()
    direction, h, values = torch.randn(variable.shape, generator=g, dtype=torch.float64), 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            variable += sign * h * direction
            values.append(float(debiased(x, log_m, y)))
            variable -= sign * h * direction
    assert float((variable.grad * direction).sum()) == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)


def test_threads_change_nothing():
    g = torch.Generator().manual_seed(0)
    legs = [
        leg
        for _ in range(3)
        for leg in exact.debiased(
            *(torch.randn(40, 2, generator=g), torch.randn(40, generator=g), torch.randn(50, 2, generator=g))
        )
    ]
    before, totals = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            totals.append(float(exact.added(legs).sum()))
    finally:
        torch.set_num_threads(before)
    assert totals[0] == totals[1]
