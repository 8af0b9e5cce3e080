from functools import partial

import pytest
import torch

from vgfm_sc.core import path
from vgfm_sc.core.geodesics import geodesics


def around_a_ring():
    """A path function that turns."""
    ring = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    ring[:, :2] /= ring[:, :2].norm(dim=1, keepdim=True) / 2
    return geodesics([ring], torch.Generator().manual_seed(0), n_neighbors=10, detour=4.0)


PATHS = [path.straight, partial(path.travelling, delta=0.6), partial(path.travelling, delta=50.0), around_a_ring()]


def pairs(n=20, d=3):
    g = torch.Generator().manual_seed(0)
    x0, x1 = (torch.randn(n, d, generator=g, dtype=torch.float64) for _ in range(2))
    return x0, x1, torch.randn(n, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("function", PATHS)
def test_path_starts_at_x0_with_mass_1_and_ends_at_x1_with_all_growth(function):
    x0, x1, log_growth = pairs()
    start, end = (function(x0, x1, log_growth, torch.full((20,), s, dtype=torch.float64)) for s in (0.0, 1.0))
    torch.testing.assert_close(start.x, x0)
    torch.testing.assert_close(end.x, x1)
    torch.testing.assert_close(start.w, torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(end.w, log_growth.exp())


@pytest.mark.parametrize("function", PATHS)
@pytest.mark.parametrize("s", [0.1, 0.5, 0.9])
def test_velocity_and_growth_are_derivatives_of_position_and_log_mass(function, s):
    x0, x1, log_growth = pairs()
    h = 1e-5
    before, here, after = (
        function(x0, x1, log_growth, torch.full((20,), at, dtype=torch.float64)) for at in (s - h, s, s + h)
    )
    torch.testing.assert_close((after.x - before.x) / (2 * h), here.u, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close((after.w.log() - before.w.log()) / (2 * h), here.g, rtol=1e-6, atol=1e-8)


def at(function, s, x0, x1, log_growth):
    return function(x0, x1, log_growth, torch.full((len(x0),), s, dtype=x0.dtype))


@pytest.mark.parametrize("delta", [0.8, 1.5, 30.0])
def test_a_travelling_dirac_solves_the_geodesic_equations(delta):
    """Mass is quadratic in s, mass times velocity and the energy of both constant, and their sum the exact distance."""
    ends, length = pairs(), delta * 6**0.5
    along = [at(partial(path.travelling, delta=delta), s, *ends) for s in torch.linspace(0, 1, 9).tolist()]
    mass = torch.stack([point.w for point in along])
    third = mass[3:] - 3 * mass[2:-1] + 3 * mass[1:-2] - mass[:-3]
    torch.testing.assert_close(third, torch.zeros_like(third))
    cosine = torch.cos((ends[1] - ends[0]).norm(dim=1) / (2 * length))
    distance = 4 * length**2 * (1 + ends[2].exp() - 2 * (ends[2] / 2).exp() * cosine)
    for point in along:
        torch.testing.assert_close(point.w[:, None] * point.u, along[0].w[:, None] * along[0].u)
        energy = point.w * (point.u.square().sum(1) + length**2 * point.g.square())
        torch.testing.assert_close(energy, distance)


def test_a_travelling_dirac_with_dear_growth_goes_at_even_speed():
    x0, x1, _ = pairs()
    even, straight = (at(function, 0.3, x0, x1, torch.zeros(20).double())
                      for function in (partial(path.travelling, delta=1e4), path.straight))  # fmt: skip
    for one, other in zip(even, straight, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_pair_beyond_reach_grows_in_place():
    """Mass (1 - s)^2 is left at one end and s^2 m1 grown at the other; the pair is where there is more."""
    x0, x1, log_growth = pairs()
    for s in (0.0, 0.2, 0.5, 0.9, 1.0):
        point = at(partial(path.travelling, delta=0.01), s, x0, x1, log_growth)
        left, grown = torch.full_like(log_growth, (1 - s) ** 2), s**2 * log_growth.exp()
        torch.testing.assert_close(point.w, torch.maximum(left, grown))
        torch.testing.assert_close(point.x, torch.where((grown > left)[:, None], x1, x0))
        assert not point.u.any() and torch.isfinite(point.g).all()
    point = at(partial(path.travelling, delta=0.01), 0.5, x0, x1, log_growth)
    torch.testing.assert_close(point.g, torch.where(log_growth > 0, 4.0, -4.0).double())


@pytest.mark.parametrize("log_growth", [0.0, 1e-6, -60.0, 60.0])
@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-4, 1.0])
def test_a_travelling_dirac_is_exact_in_single_precision(log_growth, apart):
    """Also where cells share a place, where mass is kept, and where it all but vanishes."""
    x0, x1 = torch.zeros(3, 2), torch.full((3, 2), apart)
    ends = x0, x1, torch.full((3,), log_growth)
    for s in (0.0, 1e-3, 0.5, 0.999, 1.0):
        single = at(partial(path.travelling, delta=0.6), s, *ends)
        double = at(partial(path.travelling, delta=0.6), s, *(part.double() for part in ends))
        for one, other in zip(single, double, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-6)
