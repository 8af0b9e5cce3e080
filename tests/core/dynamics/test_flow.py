"""The integrators on equations with known answers."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import RK45

from vgfm_sc.core.dynamics import flow


def rotation(t, x):
    """Turns by one radian per unit of time; mass grows at rate t."""
    return torch.stack([-x[:, 1], x[:, 0]], dim=1), torch.full_like(x[:, 0], t)


def start(n=5):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def turned(x, angle):
    c, s = math.cos(angle), math.sin(angle)
    return x @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)


@pytest.mark.parametrize("times", [[0.0, 0.7, 3.0], [3.0, 1.0, 0.0], [-1.0, 2.0]])
def test_known_solution_forward_and_backward(times):
    x = start()
    xs, log_m = flow.integrate(rotation, x, torch.zeros(5, dtype=torch.float64), times, tol=1e-8)
    for k, t in enumerate(times):
        torch.testing.assert_close(xs[k], turned(x, t - times[0]), rtol=0, atol=1e-6)
        torch.testing.assert_close(
            log_m[k], torch.full((5,), (t**2 - times[0] ** 2) / 2, dtype=torch.float64), rtol=0, atol=1e-6
        )


def test_there_and_back_again():
    x, log_m = start(), torch.zeros(5, dtype=torch.float64)
    there = flow.integrate(rotation, x, log_m, [0.0, 2.0], tol=1e-9)
    back = flow.integrate(rotation, there[0][-1], there[1][-1], [2.0, 0.0], tol=1e-9)
    torch.testing.assert_close(back[0][-1], x, rtol=0, atol=1e-7)
    torch.testing.assert_close(back[1][-1], log_m, rtol=0, atol=1e-7)


def test_error_follows_the_tolerance_and_so_does_the_work():
    x, errors, calls = start(), [], []
    for tol in (1e-3, 1e-5, 1e-7):
        count = 0

        def counted(t, z):
            nonlocal count
            count += 1
            return rotation(t, z)

        xs, _ = flow.integrate(counted, x, torch.zeros(5, dtype=torch.float64), [0.0, 6.0], tol=tol)
        errors.append(float((xs[-1] - turned(x, 6.0)).abs().max()))
        calls.append(count)
    assert errors[0] < 1e-1 and errors[1] < 1e-3 and errors[2] < 1e-5
    assert calls == sorted(calls) and calls[-1] < 500


def stepped(h, share=None):
    """A step of length ``h``, or the state ``share`` of the way through it, and what it should be."""
    x = torch.cat([start(), torch.zeros(5, 1, dtype=torch.float64)], dim=1)
    slopes = torch.empty(7, *x.shape, dtype=torch.float64)
    flow._slope(rotation, 0.0, x, slopes[0])
    new, error = flow._step(rotation, 0.0, x, slopes, h, h * flow.TABLEAU)
    if share is not None:
        new, h = flow._between(x, slopes, h, [share])[0], share * h
    return float((new[:, :2] - turned(x[:, :2], h)).norm()), error


def test_coefficients_are_those_of_scipy():
    expected = np.zeros((7, 7))
    expected[:5, :5], expected[5, :6], expected[6] = RK45.A[1:], RK45.B, RK45.E
    np.testing.assert_array_equal(flow.TABLEAU.numpy(), expected)
    np.testing.assert_array_equal(flow.NODES, [*RK45.C[1:], 1.0])
    np.testing.assert_array_equal(flow.BETWEEN, RK45.P)


def test_step_is_of_order_five():
    (first, _), (second, _) = stepped(0.4), stepped(0.2)
    assert np.log2(first / second) == pytest.approx(6, abs=0.3)  # local error of order 5 + 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_times_within_a_step_are_of_order_four(share):
    (first, _), (second, _) = stepped(0.4, share), stepped(0.2, share)
    assert np.log2(first / second) > 4.7  # local error of order 4 + 1
    assert first < 2 * max(stepped(0.4))


def test_many_times_cost_no_more_evaluations_than_few():
    counts, ends = [], []
    for times in ([0.0, 6.0], np.linspace(0, 6, 101).tolist(), [0.0, 0.0, 3.0, 3.0, 6.0, 6.0]):
        count = 0

        def counted(t, z):
            nonlocal count
            count += 1
            return rotation(t, z)

        xs, _ = flow.integrate(counted, start(), torch.zeros(5, dtype=torch.float64), times, tol=1e-6)
        for t, x in zip(times, xs, strict=True):
            torch.testing.assert_close(x, turned(start(), t), rtol=0, atol=1e-4)
        counts.append(count)
        ends.append(xs[-1])
    assert counts[0] == counts[1] == counts[2]
    assert torch.equal(ends[0], ends[1])


def test_fixed_steps_are_of_order_four():
    x, errors = start(), []
    for n in (8, 16):
        end, log_m = flow.runge_kutta(rotation, x, torch.zeros(5, dtype=torch.float64), 0.0, 2.0, n)
        errors.append(float((end - turned(x, 2.0)).norm()))
        torch.testing.assert_close(log_m, torch.full((5,), 2.0, dtype=torch.float64))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.2)


def test_blow_up_is_an_error():
    with pytest.raises(FloatingPointError, match="could not be integrated"):
        flow.integrate(
            lambda t, x: (x**3, x[:, 0]), torch.ones(1, 1, dtype=torch.float64), torch.zeros(1), [0.0, 5.0], tol=1e-6
        )


def test_held_directions_are_kept_in_every_stage_and_the_rest_flows_on():
    """Along a direction across that of a held value, the rotation is a shift at constant speed."""
    x, seen = start(), []
    along = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    held = flow.across(rotation, along)

    def watched(t, z):
        seen.append(z)
        return held(t, z)

    xs, log_m = flow.integrate(watched, x, torch.zeros(5, dtype=torch.float64), [0.0, 0.7, 2.0], tol=1e-8)
    value = x @ along.T
    for z in [*seen, *xs]:
        torch.testing.assert_close(z @ along.T, value, rtol=0, atol=1e-12)
    across = torch.tensor([[-0.8], [0.6]], dtype=torch.float64)
    torch.testing.assert_close(xs[-1] @ across, x @ across + 2.0 * value, rtol=0, atol=1e-8)
    torch.testing.assert_close(log_m[-1], torch.full((5,), 2.0, dtype=torch.float64), rtol=0, atol=1e-8)
