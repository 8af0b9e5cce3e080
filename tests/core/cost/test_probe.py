from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vgfm_sc import methods
from vgfm_sc.core.cost import estimate, probe
from vgfm_sc.core.training.settings import Settings
from vgfm_sc.core.transport import entropic, growth, parts

CPU = torch.device("cpu")
SETTINGS = Settings(16, 2, 30, 32, 0.01, 5, 20, 0.001, 1.0, None, True, 0)


def problems(cells, method):
    return probe.sizes([cells], 10, method, SETTINGS, CPU).couplings[0]


def test_shared_growth_couples_three_times_and_drift_solves_twice():
    cells = [3000, 500, 4000]
    whole = [(3000, 500), (500, 4000)]
    assert problems(cells, methods.otcfm()) == [(1, *pair) for pair in whole]
    assert problems(cells, methods.vgfm(shared_growth=False)) == [(2, *pair) for pair in whole]
    first = [(2, growth.MOST_CELLS, 500), (2, 500, growth.MOST_CELLS)]
    assert problems(cells, methods.vgfm()) == [*first, *first, *((2, *pair) for pair in whole)]
    assert problems(cells, methods.vgfm(drift_rho=None))[-1] == (1, 500, 4000)


@pytest.mark.parametrize("most", [200_000, 20_000, 5_000])
def test_large_snapshots_are_expected_in_the_parts_they_are_coupled_in(monkeypatch, most):
    monkeypatch.setitem(entropic.MOST_PAIRS, "cpu", most)
    draw = torch.Generator().manual_seed(0)
    x0, x1 = (torch.randn(n, 2, generator=draw) for n in (410, 350))
    cut = parts.split(x0, x1, most, draw)
    ((times, n, m),) = problems([410, 350], methods.otcfm())
    assert times == len(cut)
    assert (n, m) == (max(len(i) for i, _ in cut), max(len(j) for _, j in cut))


def test_conditions_share_the_cells_of_a_step():
    cells = [[500, 600], [700, 800]]
    of = probe.sizes(cells, 10, methods.vgfm(), replace(SETTINGS, fit_cells=1024), CPU)
    assert (of.fitted, of.judged) == (512, 2000) and len(of.couplings) == 2


def test_a_probe_measures_and_leaves_random_numbers_alone(same_random_state):
    of = probe.sizes([[40, 50, 60]], 3, methods.vgfm(), SETTINGS, CPU)
    pace = probe.measured(of, SETTINGS, CPU)
    assert all(0 < seconds < 1 for seconds in pace)
    found = estimate.estimated(of, pace)
    assert 0 < found.matching < found.seconds < 60
