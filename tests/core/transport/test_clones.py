"""Cells of two clones are not coupled where others will do."""

import numpy as np
import ot
import pytest
import torch

from vgfm_sc.core.transport import clones, entropic, parts
from vgfm_sc.core.transport.pairs import Pairs


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def crossing(n=60, seed=0):
    """Two lineages that change places: whoever goes by distance gets all of them wrong."""
    rng = np.random.default_rng(seed)
    of = np.arange(2 * n) % 2
    x0, x1 = (sign * (2.0 * of - 1)[:, None] + 0.1 * rng.standard_normal((2 * n, 2)) for sign in (1, -1))
    return torch.as_tensor(x0, dtype=torch.float32), torch.as_tensor(x1, dtype=torch.float32), of


def coupled(x0, x1, known, **numbers):
    settings = {"eps": 0.01, "rho": 1.0, "drift_rho": None, **numbers}
    ones = torch.ones(len(x0)), torch.ones(len(x1))
    return entropic.semi_relaxed(x0, x1, *ones, generator(), clones=known, **settings)


def test_a_clone_binds_where_it_is_at_both_ends():
    first, second = clones.binding(np.array([0, 1, -1, 2, 0]), np.array([3, 2, -1, 0]))
    assert first.tolist() == [0, -1, -1, 2, 0]
    assert second.tolist() == [-1, 2, -1, 0]


def test_pairs_of_two_clones_cost_more_those_of_one_less_and_others_the_same():
    x, y = (torch.randn(n, 3, generator=generator(n), dtype=torch.float64) for n in (7, 9))
    known = torch.tensor([0, 0, 1, 1, -1, -1, 2]), torch.tensor([0, 1, 2, -1, 0, 1, 2, -1, 0])
    ones = [torch.ones(n, dtype=torch.float64) for n in (7, 9)]
    plain, told = (torch.cat([cost for _, cost in Pairs(x, y, *ones, 20, given)._blocks()]) for given in (None, known))
    both = (known[0][:, None] != -1) & (known[1] != -1)
    one, two = (both & same for same in (known[0][:, None] == known[1], known[0][:, None] != known[1]))
    assert min(one.sum(), two.sum(), (~both).sum()) > 5
    torch.testing.assert_close(
        told - plain, clones.OTHER * two.double() - clones.OWN * one.double(), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("rho", [0.3, 1e4])
def test_the_plan_is_that_of_the_higher_cost(rho):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 3)), rng.standard_normal((50, 3)) + 0.3
    known = rng.integers(-1, 4, 40), rng.integers(-1, 4, 50)
    same, both = known[0][:, None] == known[1], (known[0][:, None] >= 0) & (known[1] >= 0)
    cost = ot.dist(x, y) / 6 + np.where(both, np.where(same, -clones.OWN, clones.OTHER), 0)
    a, b = np.ones(40), np.full(50, 0.8)
    wanted = ot.unbalanced.sinkhorn_unbalanced(
        a, b, cost, 0.05, (rho, np.inf), reg_type="kl", numItermax=20_000, stopThr=1e-12
    )
    tensors = [torch.as_tensor(part, dtype=torch.float32) for part in (x, y, a, b)]
    found = entropic.semi_relaxed(*tensors, generator(), eps=0.05, rho=rho, drift_rho=None, clones=known)
    assert found.converged
    assert np.abs(found.plan.toarray() - wanted).sum() < 2e-3 * wanted.sum()


@pytest.mark.parametrize("drift_rho", [None, 0.2])
def test_clones_say_who_changed_places(drift_rho):
    """Their clones outweigh a distance that costs less; cells without one stay with their neighbours."""
    x0, x1, of = crossing()
    near = 0.1
    told, untold = (coupled(near * x0, near * x1, known, drift_rho=drift_rho) for known in ((of, of), None))
    own = of[:, None] == of
    assert (told.plan.toarray() * own).sum() > 0.99 * told.plan.sum()
    assert (untold.plan.toarray() * own).sum() < 0.3 * untold.plan.sum()


def test_a_cell_without_a_barcode_goes_by_distance():
    x0, x1, of = crossing()
    some = np.where(np.arange(len(of)) < 20, of, -1)  # all targets are told
    plan = coupled(0.1 * x0, 0.1 * x1, (some, of), eps=0.001).plan.toarray()
    own = plan * (of[:, None] == of)
    assert own[:20].sum() > 0.99 * plan[:20].sum()
    assert own[20:].sum() < 0.5 * plan[20:].sum()


def test_no_barcode_changes_nothing():
    x0, x1, of = crossing()
    nobody = np.full(len(of), -1)
    one, other = (coupled(x0, x1, known).plan.toarray() for known in (None, (nobody, nobody)))
    np.testing.assert_array_equal(one, other)


def test_a_wrong_barcode_does_not_send_a_cell_far_away():
    """A clone costs less than the way to where it is."""
    x0, x1, of = crossing()
    x1, wrong = -x1, of.copy()  # nobody moves
    wrong[:4] = 1 - of[:4]
    plan = coupled(x0, x1, (wrong, of)).plan.toarray()
    here = plan * (of[:, None] == of)
    np.testing.assert_allclose(here[:4].sum(axis=1) / plan[:4].sum(axis=1), 1, atol=0.01)


def test_the_balanced_plan_goes_by_clones_too():
    x0, x1, of = crossing()
    ones = torch.ones(len(of))
    plan = entropic.balanced(0.1 * x0, 0.1 * x1, ones, ones, generator(), eps=0.01, clones=(of, of)).plan.toarray()
    assert (plan * (of[:, None] == of)).sum() > 0.99 * plan.sum()


def test_small_clones_stay_together_and_large_ones_are_dealt_out():
    """Two clones of 200 and many of 2 to 5, in eight parts; a third of the cells have none."""
    rng = np.random.default_rng(0)
    codes = [
        np.r_[np.repeat([0, 1], 200), rng.permutation(np.repeat(np.arange(2, 202), n)), np.full(400, -1)]
        for n in (2, 5)
    ]
    given = tuple(torch.as_tensor(part) for part in codes)
    x = [torch.randn(len(part), 3, generator=generator(len(part))) for part in codes]
    cut = parts.split(*x, 184**2, generator(), given)
    n_parts = len(cut) // parts.REDRAWS
    assert n_parts == 8
    for draw in (cut[:n_parts], cut[n_parts:]):
        for side in (0, 1):
            assert torch.cat([part[side] for part in draw]).sort().values.tolist() == list(range(len(codes[side])))
            sizes = [len(part[side]) for part in draw]
            assert max(sizes) - min(sizes) < 0.1 * len(codes[side]) / n_parts
        for i, j in draw:
            small0, small1 = ({c for c in part.tolist() if c > 1} for part in (given[0][i], given[1][j]))
            assert small0 == small1
            assert min((part == k).sum() for part in (given[0][i], given[1][j]) for k in (0, 1)) >= clones.PER_PART
    assert {tuple(i.tolist()) for i, _ in cut[:n_parts]} != {tuple(i.tolist()) for i, _ in cut[n_parts:]}


def test_fewer_clones_than_parts_leave_no_part_empty():
    of = torch.arange(2000) % 12
    x = torch.randn(2000, 3, generator=generator())
    cut = parts.split(x, x, 110**2, generator(), (of, of))
    sizes = [len(part) for draw in cut for part in draw]
    assert len(cut) > 12 * parts.REDRAWS and max(sizes) - min(sizes) <= 1


def test_clones_are_followed_in_parts_too(monkeypatch):
    monkeypatch.setattr(parts, "FEWEST_CELLS", 1)
    x0, x1, of = crossing(n=100)
    small = of + 2 * (np.arange(len(of)) // 10)  # twenty clones of five in either lineage
    monkeypatch.setitem(entropic.MOST_PAIRS, "cpu", 3000)
    found = coupled(0.1 * x0, 0.1 * x1, (small, small))
    assert found.n_parts > 2
    plan = found.plan.toarray()
    assert (plan * (small[:, None] == small)).sum() > 0.98 * plan.sum()
