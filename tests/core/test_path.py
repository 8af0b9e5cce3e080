import pytest
import torch

from vgfm_sc.core import path

PATHS = [path.straight]


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
