import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from vgfm_sc.core import path
from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.training import matching, smoothing

TIMES = [0.0, 1.0, 3.0]


def course(n=30, curve=1.0):
    """One-to-one plans between cells that follow x(t) = a + b t + c t^2.

    Growth rates are linear in the distance travelled, p + q s, along the chords between snapshots: with ``curve=0``
    along the motion itself, which is then straight and at constant speed.
    """
    g = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(n, 2, generator=g, dtype=torch.float64) for _ in range(3))
    c = curve * c
    cells = [a + b * t + c * t**2 for t in TIMES]
    chords = [torch.linalg.vector_norm(x1 - x0, dim=1) for x0, x1 in zip(cells[:-1], cells[1:], strict=True)]
    travelled = torch.stack([torch.zeros(n), chords[0], chords[0] + chords[1]])
    rate = 0.3 - 0.2 * travelled  # at the snapshots
    couplings = []
    for k, (t0, t1) in enumerate(zip(TIMES[:-1], TIMES[1:], strict=True)):
        growth = ((t1 - t0) * (rate[k] + rate[k + 1]) / 2).exp()
        couplings.append(Coupling(csr_array(np.diag(growth.numpy())), np.ones(n), True, 0, 0.0))
    return cells, couplings, (b, c, rate)


def test_velocity_is_exact_where_motion_is_quadratic():
    cells, couplings, (b, c, _) = course()
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    torch.testing.assert_close(slopes[1].v, b + 2 * c * TIMES[1])


@pytest.mark.parametrize("curve", [0.0, 1.0])
def test_growth_is_exact_where_it_is_linear_in_the_distance_travelled(curve):
    cells, couplings, (_, _, rate) = course(curve=curve)
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    for found, wanted in zip(slopes, rate, strict=True):
        torch.testing.assert_close(found.g, wanted.double(), rtol=1e-6, atol=1e-6)


def test_growth_along_the_motion_is_exact_between_snapshots_too():
    """Straight motion at constant speed: linear in distance is linear in time, which the bend keeps."""
    cells, couplings, (b, _, _) = course(curve=0.0)
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    speed, i = torch.linalg.vector_norm(b, dim=1), torch.arange(30)
    for k in (0, 1):
        pairs = matching.Interval(
            couplings[k], (cells[k], cells[k + 1]), (TIMES[k], TIMES[k + 1]), path.straight, (0.0, 0.0),
            (slopes[k], slopes[k + 1]),
        )  # fmt: skip
        for s in (0.0, 0.5, 1.0):
            t = TIMES[k] + s * pairs.dt
            found = pairs.point(i, i, torch.full((30,), s, dtype=torch.float64)).g / pairs.dt
            torch.testing.assert_close(found.double(), 0.3 - 0.2 * speed * t, rtol=1e-5, atol=1e-6)


def test_growth_of_cells_that_never_move_is_shared_by_the_intervals():
    cells, n = [torch.zeros(4, 2)] * 3, np.ones(4)
    couplings = [
        Coupling(csr_array(np.eye(4) * np.exp(rate * dt)), n, True, 0, 0.0) for rate, dt in ((0.2, 1), (0.6, 2))
    ]
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    torch.testing.assert_close(slopes[1].g, torch.full((4,), 0.4))


def test_ends_are_those_of_a_natural_spline():
    cells, couplings, _ = course()
    slopes = smoothing.node_slopes(couplings, cells, TIMES)
    dt, chord = TIMES[1], (cells[1] - cells[0]) / TIMES[1]
    # second derivative at s = 0 of the cubic with end slopes v0, v1: (6 chord - 4 v0 - 2 v1) / dt
    torch.testing.assert_close((6 * chord - 4 * slopes[0].v - 2 * slopes[1].v) / dt, torch.zeros_like(chord))


def test_growth_at_the_ends_goes_halfway_to_what_is_expected_there():
    cells, couplings, (_, _, rate) = course()
    expected = np.full(30, 0.7), np.linspace(-1, 1, 30)
    slopes = smoothing.node_slopes(couplings, cells, TIMES, at_ends=expected)
    halfway = (rate[0] + 0.7 / 1.0) / 2, rate[1], (rate[2] + torch.linspace(-1, 1, 30) / 2.0) / 2
    for found, wanted in zip(slopes, halfway, strict=True):
        torch.testing.assert_close(found.g, wanted.double(), rtol=1e-6, atol=1e-6)
    one = [
        smoothing.node_slopes(couplings[:1], cells[:2], TIMES[:2], at_ends=of_states)[0].g
        for of_states in (None, expected)
    ]
    torch.testing.assert_close(*one, rtol=0, atol=0)


def test_one_interval_stays_straight():
    cells, couplings, _ = course()
    slopes = smoothing.node_slopes(couplings[:1], cells[:2], TIMES[:2])
    torch.testing.assert_close(slopes[0].v, cells[1] - cells[0])
    torch.testing.assert_close(slopes[1].v, cells[1] - cells[0])


def bent_path(between):
    """Random ends and slopes, as a function of s; mean growth lies ``between`` the rates at the ends or outside."""
    g = torch.Generator().manual_seed(1)
    x0, x1, v0, v1 = (torch.randn(20, 2, generator=g, dtype=torch.float64) for _ in range(4))
    log_growth, jump0, jump1 = (torch.randn(20, generator=g, dtype=torch.float64) for _ in range(3))
    jump1 = (-1 if between else 1) * jump0.sign() * jump1.abs()
    at0, at1 = smoothing.Slopes(v0, log_growth + jump0), smoothing.Slopes(v1, log_growth + jump1)

    def bent(s):
        s = torch.full((20,), s, dtype=torch.float64)
        ends = (path.straight(x0, x1, log_growth, torch.full_like(s, end)) for end in (0.0, 1.0))
        return smoothing.bend(path.straight(x0, x1, log_growth, s), *ends, at0, at1, s)

    return bent, (x0, x1, log_growth, at0, at1)


def test_growth_without_a_bend_where_its_mean_is_not_between_its_ends():
    bent, (_, _, log_growth, at0, at1) = bent_path(between=False)
    for s in (0.0, 0.3, 1.0):
        torch.testing.assert_close(bent(s).g, log_growth)
        torch.testing.assert_close(bent(s).w, (s * log_growth).exp())
    torch.testing.assert_close(bent(0.0).u, at0.v)  # velocity is bent all the same
    torch.testing.assert_close(bent(1.0).u, at1.v)


def test_bent_path_keeps_its_ends_has_the_slopes_and_its_own_derivatives():
    bent, (x0, x1, log_growth, (v0, g0), (v1, g1)) = bent_path(between=True)
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
            couplings[k], (cells[k], cells[k + 1]), (TIMES[k], TIMES[k + 1]), path.straight, (0.0, 0.0),
            (slopes[k], slopes[k + 1]),
        )
        for k in (0, 1)
    )  # fmt: skip
    i = torch.arange(30)
    end, start = before.point(i, i, torch.ones(30)), after.point(i, i, torch.zeros(30))
    torch.testing.assert_close(end.u / before.dt, start.u / after.dt, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(end.g / before.dt, start.g / after.dt, rtol=1e-4, atol=1e-4)


def test_bent_paths_stay_in_the_box_and_no_others_change():
    g = torch.Generator().manual_seed(2)
    n = 4000
    x0, x1, v0, v1 = (torch.rand(n, 2, generator=g, dtype=torch.float64) for _ in range(4))
    none = torch.zeros(n, dtype=torch.float64)
    at0, at1 = smoothing.Slopes(4 * v0 - 2, none), smoothing.Slopes(4 * v1 - 2, none)
    box = smoothing.Box(torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))

    def bent(s, box):
        s = torch.full((n,), s, dtype=torch.float64)
        ends = (path.straight(x0, x1, none, torch.full_like(s, end)) for end in (0.0, 1.0))
        return smoothing.bend(path.straight(x0, x1, none, s), *ends, at0, at1, s, box)

    shares = torch.linspace(0, 1, 101, dtype=torch.float64)
    free, kept = (torch.stack([bent(s, limits).x for s in shares.tolist()]) for limits in (None, box))
    line = torch.lerp(x0, x1, shares[:, None, None])
    near = (torch.minimum(free / line, (1 - free) / (1 - line)) < 0.5).any(dim=0)  # more than half-way to an edge
    assert 0.05 < ((free < 0) | (free > 1)).any(dim=0).double().mean() < 0.5
    assert kept.min() > -1e-3 and kept.max() < 1 + 1e-3 and free.max() > 1.1
    torch.testing.assert_close(kept[:, ~near], free[:, ~near])
    assert (kept - line).abs().amax(dim=0)[near].mean() < 0.7 * (free - line).abs().amax(dim=0)[near].mean()
    for s in (0.0, 1.0):
        torch.testing.assert_close(bent(s, box).x, bent(s, None).x)
    h = 1e-5
    torch.testing.assert_close((bent(0.3 + h, box).x - bent(0.3 - h, box).x) / (2 * h), bent(0.3, box).u)


def half_circles(x0, x1, log_growth, s):
    """Up and over: paths that leave and arrive at a right angle to the straight line."""
    u, turn = x1 - x0, torch.stack([x0[:, 1] - x1[:, 1], x1[:, 0] - x0[:, 0]], dim=1) / 2
    angle = torch.pi * s[:, None]
    x = (x0 + x1) / 2 - angle.cos() * u / 2 + angle.sin() * turn
    return path.PathPoint(x, torch.pi * (angle.sin() * u / 2 + angle.cos() * turn), log_growth, (s * log_growth).exp())


def test_slopes_of_a_path_are_means_over_the_paths_that_leave_and_arrive():
    g = torch.Generator().manual_seed(0)
    x0, x1 = (torch.randn(n, 2, generator=g, dtype=torch.float64) for n in (7, 9))
    plan = torch.rand(7, 9, generator=g, dtype=torch.float64)
    coupling = Coupling(csr_array(plan.numpy()), np.ones(7), True, 0, 0.0)
    i, j = torch.arange(7).repeat_interleave(9), torch.arange(9).repeat(7)
    for way in (path.straight, half_circles):
        found = smoothing.node_slopes([coupling], [x0, x1], (0.0, 2.0), way)
        for slopes, s, over in zip(found, (0.0, 1.0), (1, 0), strict=True):
            u = way(x0[i], x1[j], torch.zeros(63), torch.full((63,), s, dtype=torch.float64)).u.reshape(7, 9, 2) / 2
            want = (plan[..., None] * u).sum(dim=over) / plan.sum(dim=over)[:, None]
            torch.testing.assert_close(slopes.v, want)
    plain = smoothing.node_slopes([coupling], [x0, x1], (0.0, 2.0))
    for one, other in zip(plain, smoothing.node_slopes([coupling], [x0, x1], (0.0, 2.0), path.straight), strict=True):
        torch.testing.assert_close(one.v, other.v)
        torch.testing.assert_close(one.g, other.g)


def test_a_path_that_turns_is_bent_the_less_the_more_it_turns():
    x0, x1 = torch.zeros(3, 2), torch.tensor([[2.0, 0.0]]).repeat(3, 1)
    zeros, at = torch.zeros(3), smoothing.Slopes(torch.full((3, 2), 5.0), torch.full((3,), 0.5))
    for way, share in ((path.straight, 1.0), (half_circles, 0.0)):
        start, stop = way(x0, x1, zeros, zeros), way(x0, x1, zeros, zeros + 1)
        for end, eased in zip((start, stop), smoothing.eased(start, stop, at, at), strict=True):
            torch.testing.assert_close(eased.v, torch.lerp(end.u, at.v, share), atol=1e-5, rtol=1e-5)
            assert eased.g is at.g
