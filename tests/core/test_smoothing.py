import numpy as np
import torch
from scipy.sparse import csr_array

from vgfm_sc.core import matching, path, smoothing
from vgfm_sc.core.coupling import Coupling

TIMES = [0.0, 1.0, 3.0]


def course(n=30):
    """One-to-one plans between cells that follow x(t) = a + b t + c t^2 and grow at rate p + q t."""
    g = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(n, 2, generator=g, dtype=torch.float64) for _ in range(3))
    cells = [a + b * t + c * t**2 for t in TIMES]
    p, q = 0.3, -0.2
    couplings = []
    for t0, t1 in zip(TIMES[:-1], TIMES[1:], strict=True):
        growth = np.exp(p * (t1 - t0) + q * (t1**2 - t0**2) / 2)
        couplings.append(Coupling(csr_array(np.eye(n) * growth), np.ones(n), True, 0, 0.0))
    return cells, couplings, (b, c, p, q)


def test_slopes_are_exact_where_motion_is_quadratic_and_growth_linear():
    cells, couplings, (b, c, p, q) = course()
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    torch.testing.assert_close(slopes[1].v, b + 2 * c * TIMES[1])
    torch.testing.assert_close(slopes[1].g, torch.full((30,), p + q * TIMES[1], dtype=torch.float64))


def test_ends_are_those_of_a_natural_spline():
    cells, couplings, _ = course()
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    dt, chord = TIMES[1], (cells[1] - cells[0]) / TIMES[1]
    # second derivative at s = 0 of the cubic with end slopes v0, v1: (6 chord - 4 v0 - 2 v1) / dt
    torch.testing.assert_close((6 * chord - 4 * slopes[0].v - 2 * slopes[1].v) / dt, torch.zeros_like(chord))


def test_one_interval_stays_straight():
    cells, couplings, _ = course()
    slopes = smoothing.node_slopes(couplings[:1], cells[:2], TIMES[:2])
    torch.testing.assert_close(slopes[0].v, cells[1] - cells[0])
    torch.testing.assert_close(slopes[1].v, cells[1] - cells[0])


def test_bent_path_keeps_its_ends_has_the_slopes_and_its_own_derivatives():
    g = torch.Generator().manual_seed(1)
    x0, x1, v0, v1 = (torch.randn(20, 2, generator=g, dtype=torch.float64) for _ in range(4))
    log_growth, g0, g1 = (torch.randn(20, generator=g, dtype=torch.float64) for _ in range(3))
    at0, at1 = smoothing.Slopes(v0, g0), smoothing.Slopes(v1, g1)

    def bent(s):
        s = torch.full((20,), s, dtype=torch.float64)
        ends = (path.straight(x0, x1, log_growth, torch.full_like(s, end)) for end in (0.0, 1.0))
        return smoothing.bend(path.straight(x0, x1, log_growth, s), *ends, at0, at1, s)

    start, stop = bent(0.0), bent(1.0)
    for got, want in ((start.x, x0), (stop.x, x1), (start.u, v0), (stop.u, v1), (start.g, g0), (stop.g, g1)):
        torch.testing.assert_close(got, want)
    torch.testing.assert_close(start.w, torch.ones_like(g0))
    torch.testing.assert_close(stop.w, log_growth.exp())
    h = 1e-5
    for s in (0.2, 0.6):
        torch.testing.assert_close((bent(s + h).x - bent(s - h).x) / (2 * h), bent(s).u, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(
            (bent(s + h).w.log() - bent(s - h).w.log()) / (2 * h), bent(s).g, rtol=1e-6, atol=1e-8
        )


def test_velocity_and_growth_of_drawn_pairs_are_continuous_at_a_time_point():
    cells, couplings, _ = course()
    cells = [c.float() for c in cells]
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    before, after = (
        matching.Interval(
            couplings[k], (cells[k], cells[k + 1]), (TIMES[k], TIMES[k + 1]), path.straight, 0.0,
            (slopes[k], slopes[k + 1]),
        )
        for k in (0, 1)
    )  # fmt: skip
    i = torch.arange(30)
    end, start = before.point(i, i, torch.ones(30)), after.point(i, i, torch.zeros(30))
    torch.testing.assert_close(end.u / before.dt, start.u / after.dt, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(end.g / before.dt, start.g / after.dt, rtol=1e-4, atol=1e-4)
