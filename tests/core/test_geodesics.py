"""Paths along courses whose curve is known: an arc, a circle and two arms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vgfm_sc.core.geodesics import geodesics
from vgfm_sc.core.path import straight


def ring(angle, radius=1.0, centre=(0.0, 0.0)):
    """Places on a circle, shape ``(n, 2)``."""
    return torch.tensor(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) + centre, dtype=torch.float32)


def arm(angle, side):
    """Up (1) or down (-1) a half circle from the origin."""
    return ring(angle - np.pi / 2, centre=(0.0, 1.0)) * torch.tensor([1.0, side])


def spread_over(way, n=250, seed=0):
    return np.random.default_rng(seed).uniform(0, way, n)


def along(cells, n_neighbors=10, detour=4.0, seed=0):
    return geodesics(cells, torch.Generator().manual_seed(seed), n_neighbors=n_neighbors, detour=detour)


def farthest(path, x0, x1, away):
    """Distance from the curve of the place of all pairs that is farthest off."""
    zeros = torch.zeros(len(x0))
    return max(float(away(path(x0, x1, zeros, zeros + s).x).max()) for s in np.linspace(0, 1, 21))


def from_both_arms(x):
    return torch.minimum(*((x - torch.tensor([0.0, side])).norm(dim=1).sub(1).abs() for side in (1.0, -1.0)))


START, END = spread_over(0.3, 50, seed=1), np.pi - spread_over(0.3, 50, seed=2)
COURSES = {
    "arc": (
        [ring(START), ring(END), ring(spread_over(np.pi))], ring(START), ring(END),
        lambda x: (x.norm(dim=1) - 1).abs(),
    ),
    "circle": (
        [ring(spread_over(2 * np.pi, 600), 2.0)], ring(START, 2.0), ring(START + 2 * np.pi / 3, 2.0),
        lambda x: (x.norm(dim=1) - 2).abs(),
    ),
    "arms": (
        [arm(spread_over(np.pi), 1.0), arm(spread_over(np.pi, seed=3), -1.0)],
        torch.cat([arm(START, 1.0), arm(START, -1.0)]), torch.cat([arm(END, 1.0), arm(END, -1.0)]), from_both_arms,
    ),
}  # fmt: skip
"""Cells of all times; the ends of pairs; and how far places are from the curve."""


@pytest.mark.parametrize("name", COURSES)
@pytest.mark.parametrize("n_dims", [2, 10, 30])
def test_paths_keep_to_the_curve_where_straight_lines_leave_it(name, n_dims):
    """Within .1 of it where lines leave it by 1, also on a plane turned at random with noise around it."""
    cells, x0, x1, away = COURSES[name]
    g = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(n_dims, n_dims, generator=g))[0][:2] if n_dims > 2 else torch.eye(2)
    size = 0.015 if n_dims > 2 else 0.0

    def placed(x):
        return x @ plane + size * torch.randn(len(x), n_dims, generator=g)

    path, ends = along([placed(x) for x in cells]), (placed(x0), placed(x1))
    assert farthest(straight, *ends, lambda x: away(x @ plane.T)) > 0.9
    assert farthest(path, *ends, lambda x: away(x @ plane.T)) < 0.1


@pytest.mark.parametrize("n_dims", [2, 10, 30])
def test_noise_in_many_dimensions_does_not_hide_the_way(monkeypatch, n_dims):
    """Each cell is off the arc by .1 along every axis; ways from cell to cell see no arc in 30 dimensions."""
    g, n = torch.Generator().manual_seed(0), 300
    x = 0.1 * torch.randn(3 * n, n_dims, generator=g)
    x[:, :2] += ring(np.concatenate([np.zeros(n), spread_over(np.pi, n), np.full(n, np.pi)]))

    def off_the_arc():
        middle = along([x])(x[:n], x[-n:], torch.zeros(n), torch.full((n,), 0.5)).x
        return float(middle[:, :2].norm(dim=1).mean() - 1)

    assert abs(off_the_arc()) < 0.1
    monkeypatch.setattr("vgfm_sc.core.geodesics.MOST_AROUND", 1)
    assert (off_the_arc() < -0.5) == (n_dims == 30)


@pytest.mark.parametrize("name", ["arc", "circle"])
def test_the_way_is_passed_at_even_speed(name):
    cells, x0, x1, _ = COURSES[name]
    path, zeros = along(cells), torch.zeros(len(x0))
    speed = torch.stack([path(x0, x1, zeros, zeros + s).u.norm(dim=1) for s in np.linspace(0, 1, 11)])
    length = {"arc": np.pi - START - (np.pi - END), "circle": np.full(50, 4 * np.pi / 3)}[name]
    np.testing.assert_allclose(speed.mean(dim=0), length, rtol=0.05)
    assert float((speed / speed.mean(dim=0)).std()) < 0.15


def test_paths_are_straight_where_cells_lie_along_the_line():
    g = torch.Generator().manual_seed(0)
    full = 4 * torch.rand(2000, 2, generator=g)
    assert off_the_line(along([full]), full[:400], full[400:800]) < 0.02


def test_a_gap_that_nothing_leads_around_is_not_crossed_where_it_is_narrowest(monkeypatch):
    g = torch.Generator().manual_seed(0)
    x0, x1 = (0.3 * torch.randn(100, 3, generator=g) + x for x in (0.0, 5.0))
    off = off_the_line(along([x0, x1]), x0, x1)
    monkeypatch.setattr("vgfm_sc.core.geodesics.LEAST_AVOIDED", -1.0)
    monkeypatch.setattr("vgfm_sc.core.geodesics.ENOUGH_AVOIDED", 0.0)
    monkeypatch.setattr("vgfm_sc.core.geodesics.MOST_AROUND", 1)
    assert off < 0.01 < 0.05 < off_the_line(along([x0, x1]), x0, x1)


def off_the_line(path, x0, x1):
    """Mean distance from the straight line, as a share of its length."""
    zeros = torch.zeros(len(x0))
    off = [path(x0, x1, zeros, zeros + s).x - straight(x0, x1, zeros, zeros + s).x for s in (0.25, 0.5, 0.75)]
    return float(torch.stack(off).norm(dim=2).mean() / (x1 - x0).norm(dim=1).mean())


def test_a_detour_is_as_long_as_is_allowed():
    """Half a circle is 1.57 times as long as the line across."""
    cells, x0, x1, away = COURSES["arc"]
    assert along(cells, detour=1.0).waves.abs().max() < 1e-6
    assert farthest(along(cells, detour=1.3), x0, x1, away) > 0.9
    assert farthest(along(cells, detour=2.0), x0, x1, away) < 0.1


def test_growth_is_that_of_straight_paths():
    cells, x0, x1 = [ring(spread_over(np.pi, 60))], ring(START), ring(END)
    log_growth, s = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.linspace(0, 1, 50)
    curved, line = (path(x0, x1, log_growth, s) for path in (along(cells), straight))
    assert torch.equal(curved.g, line.g) and torch.equal(curved.w, line.w)


def test_the_same_seed_makes_the_same_paths_and_no_global_state_is_touched():
    cells = [ring(spread_over(np.pi, 60)), ring(spread_over(np.pi, 40, seed=1))]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, again, other = along(cells), along(cells), along([torch.cat(cells)], seed=1)
    assert torch.equal(first.waves, again.waves) and torch.equal(first.landmarks, again.landmarks)
    assert not torch.equal(first.landmarks, other.landmarks)
    assert torch.equal(states[0], torch.get_rng_state()) and (states[1] == np.random.get_state()[1]).all()


def test_cells_at_one_place_count_once():
    one = torch.zeros(50, 2)
    with pytest.raises(ValueError, match=r"n_neighbors=10 needs more than 10 cells .*found 2\. Lower"):
        along([one, one + 1])
    path = along([one, torch.rand(20, 2, generator=torch.Generator().manual_seed(0))])
    assert torch.isfinite(path.waves).all()


def test_no_more_neighbours_are_asked_for_than_there_are_landmarks():
    with pytest.raises(ValueError, match=r"n_neighbors=300 .*of which 300 at most are taken; found 300\. Lower"):
        along([ring(spread_over(2 * np.pi, 400))], n_neighbors=300)


def test_large_courses_are_seen_through_a_fixed_number_of_landmarks(monkeypatch):
    monkeypatch.setattr("vgfm_sc.core.geodesics.MOST_CELLS", 500)
    monkeypatch.setattr("vgfm_sc.core.geodesics.LANDMARKS", 100)
    path = along([ring(spread_over(2 * np.pi, 3000))])
    assert path.landmarks.shape == (100, 2) and path.waves.shape == (100, 100, 3, 2)


def test_in_many_dimensions_there_are_fewer_landmarks(monkeypatch):
    monkeypatch.setattr("vgfm_sc.core.geodesics.MOST_NUMBERS", 3 * 6 * 20**2)
    cells = [torch.randn(100, 6, generator=torch.Generator().manual_seed(0))]
    assert along(cells).waves.shape == (20, 20, 3, 6)
