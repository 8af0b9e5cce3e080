import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.dynamics import networks as nets
from vgfm_sc.core.path import straight
from vgfm_sc.core.threads import shared_by
from vgfm_sc.core.training import matching

PLAN = np.array([[0.2, 0.0, 1.8], [0.5, 0.25, 0.0]])


LATE = np.array([0.2, -0.4, 0.0])
"""Log growth by target."""


def interval(noise=(0.0, 0.0), times=(1.0, 3.0), bridge=0.0, late=None):
    x0 = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    x1 = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    coupling = Coupling(csr_array(PLAN), np.ones(2), True, 0, 0.0, late=late)
    return matching.Interval(coupling, (x0, x1), times, straight, matching.Spread(noise, (0.1, 0.2), bridge), None)


def test_a_batch_says_of_which_condition_it_is_but_for_a_share_of_it():
    plain, told = interval(), interval()
    told.condition = 4
    without, batch = (each.draw(20_000, torch.Generator().manual_seed(0)) for each in (plain, told))
    assert without.condition is None and torch.equal(batch.x, without.x) and torch.equal(batch.z, without.z)
    dropped = batch.condition == nets.NO_CONDITION
    assert (
        dropped.float().mean() == pytest.approx(matching.DROPPED, abs=0.01) and (batch.condition[~dropped] == 4).all()
    )
    other = interval()
    other.condition = 0
    for step in matching.batches([told, other], 30, 7, torch.Generator().manual_seed(0)):
        assert step.condition.shape == (60,) == step.t.shape
        assert set(step.condition[:30].tolist()) <= {4, nets.NO_CONDITION}
        assert set(step.condition[30:].tolist()) <= {0, nets.NO_CONDITION}


@pytest.mark.parametrize(
    ("n0", "n1", "n_dims", "share"), [(20, 40, 2, 1.0), (150, 300, 10, 1.0), (40, 50, 10, 0.75), (50, 60, 30, 0.5)]
)
def test_the_rate_is_lower_where_cells_are_few_for_their_axes(n0, n1, n_dims, share):
    part = interval()
    part.x0, part.x1 = torch.zeros(n0, n_dims), torch.zeros(n1, n_dims)
    assert matching.rate_of([part, part]) == pytest.approx(share)
    other = interval()
    other.x0, other.x1, other.condition = part.x0, part.x1, 1
    assert matching.rate_of([part, part, other, other]) == pytest.approx(share)  # of each condition alike


def test_targets_are_per_unit_of_time_and_lie_on_the_path():
    batch = interval().draw(500, torch.Generator().manual_seed(0))
    assert ((batch.t >= 1) & (batch.t <= 3)).all()
    torch.testing.assert_close(batch.v[:, 1], torch.full((500,), 0.5))  # one unit up in two units of time
    s = (batch.t - 1) / 2
    torch.testing.assert_close(batch.x[:, 1], s)
    known = torch.tensor([np.log(2.0) / 2, np.log(0.75) / 2], dtype=torch.float32)
    assert (torch.cdist(batch.g[:, None], known[:, None]).min(1).values < 1e-6).all()


@pytest.mark.parametrize("s", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("late", [None, LATE], ids=["early", "late"])
def test_weighted_draws_have_the_mass_of_each_pair_at_each_s(s, late):
    """The weighted frequency of pair (i, j) near s is pi_ij exp((s - 1) g_ij), relative to all."""
    batch = interval(late=late).draw(400_000, torch.Generator().manual_seed(0))
    near = ((batch.t - 1) / 2 - s).abs() < 0.05
    x0 = batch.x - (batch.t - 1)[:, None] * batch.v
    x1 = x0 + 2 * batch.v
    source, target = x0[:, 0].round().long(), x1[:, 0].round().long()
    seen = torch.zeros(2, 3).index_put_((source[near], target[near]), batch.w[near], accumulate=True).numpy()
    late = np.zeros(3) if late is None else late
    early = np.log((PLAN * np.exp(-late)).sum(1, keepdims=True))  # a unit of mass at every source
    want = PLAN * np.exp((s - 1) * (early + late))
    np.testing.assert_allclose(seen / seen.sum(), want / want.sum(), atol=0.01)


def test_weights_stay_near_one():
    batch = interval().draw(10_000, torch.Generator().manual_seed(0))
    assert batch.w.max() < 2.5
    assert batch.w.mean() == pytest.approx(1.0, abs=0.1)


def test_noise_moves_positions_and_velocities_follow_it_in_part():
    clean, noisy = (
        interval(noise).draw(20_000, torch.Generator().manual_seed(0)) for noise in ((0.0, 0.0), (0.1, 0.4))
    )
    s = (clean.t - 1) / 2
    for at, want in ((0.05, 0.115), (0.5, 0.25), (0.95, 0.385)):  # from one end's to the other's
        assert float((noisy.x - clean.x)[(s - at).abs() < 0.05].std()) == pytest.approx(want, rel=0.05)
    torch.testing.assert_close(noisy.g, clean.g)
    apart = (noisy.x - clean.x) / torch.lerp(torch.full_like(s, 0.1), torch.full_like(s, 0.4), s)[:, None]
    torch.testing.assert_close(noisy.v - clean.v, matching.FOLLOWED * (0.4 - 0.1) / 2 * apart, rtol=1e-3, atol=1e-4)
    even, bare = (interval(noise).draw(100, torch.Generator().manual_seed(0)) for noise in ((0.2, 0.2), (0.0, 0.0)))
    torch.testing.assert_close(even.v, bare.v)


def test_noise_is_as_wide_as_the_distance_between_cells_and_wider_in_more_dimensions():
    widths = [matching.noise_between(0.3, d) for d in (1, 2, 8, 100)]
    assert widths == pytest.approx([0.3, 0.3, 0.3 * 2**0.5, 0.45])


def test_a_bridge_has_the_law_of_brownian_motion_held_at_both_ends():
    size = 0.3
    free, bridged = (interval(bridge=b).draw(40_000, torch.Generator().manual_seed(0)) for b in (0.0, size))
    s = (free.t - 1) / 2
    for at in (0.1, 0.5, 0.8):
        near = (s - at).abs() < 0.03
        off = (bridged.on_path - free.on_path)[near]
        assert float(off.std()) == pytest.approx(size * (at * (1 - at)) ** 0.5, rel=0.05)
        # what a cell at a place has on average as its velocity there, beside that of the straight line
        slope = float(((bridged.v - free.v)[near] * off).sum() / off.square().sum())
        assert slope == pytest.approx((1 - 2 * at) / (2 * at * (1 - at)) / 2, rel=0.1, abs=0.1)
    assert torch.isfinite(bridged.v).all()


def test_the_blur_of_the_score_goes_from_one_ends_to_the_others():
    batch = interval().draw(1000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(batch.h, 0.1 + 0.1 * (batch.t - 1) / 2)
    torch.testing.assert_close(batch.on_path, batch.x)


def test_batches_have_the_size_asked_for_and_cover_all_of_the_interval():
    drawn = list(matching.batches([interval(), interval(times=(3.0, 4.0))], 64, 7, torch.Generator().manual_seed(0)))
    assert len(drawn) == 7
    for batch in drawn:
        assert batch.x.shape == (128, 2) and batch.t.shape == (128,)
        assert (batch.t[:64] <= 3).all() and (batch.t[64:] >= 3).all()
        assert batch.t[:64].min() < 1.3 and batch.t[:64].max() > 2.7


def test_matching_learns_a_translation_and_its_growth():
    g = torch.Generator().manual_seed(0)
    x0 = torch.randn(200, 2, generator=g)
    plan = csr_array(np.eye(200) * 1.5)
    moved = matching.Interval(
        Coupling(plan, np.ones(200), True, 0, 0.0),
        (x0, x0 + torch.tensor([1.0, -0.5])),
        (0.0, 1.0),
        straight,
        matching.Spread((0.0, 0.0), (0.1, 0.1)),
        None,
    )
    networks, history = matching.match(
        nets.Networks(2, 32, 2, 2, torch.Generator().manual_seed(0)),
        [moved],
        size=128,
        n_steps=200,
        lr=0.05,
        generator=g,
        on_step=lambda: None,
    )
    with torch.no_grad():
        v, growth = networks(0.5, x0)
    assert float((v - torch.tensor([1.0, -0.5])).abs().mean()) < 0.03
    assert float((growth - np.log(1.5)).abs().mean()) < 0.02
    assert history["velocity"].shape == (200,) and history["velocity"][-1] < 0.1 * history["velocity"][0]


def test_the_score_is_learnt_beside_them_and_changes_nothing_of_them():
    def learnt(with_score):
        networks = nets.Networks(2, 8, 2, 2, torch.Generator().manual_seed(0), with_score=with_score)
        return matching.match(
            networks, [interval()], size=8, n_steps=3, lr=0.1, generator=torch.Generator().manual_seed(0),
            on_step=lambda: None,
        )  # fmt: skip

    (without, history), (beside, three) = learnt(False), learnt(True)
    assert list(history) == ["velocity", "growth"] and list(three) == ["velocity", "growth", "score"]
    for name, value in without.state_dict().items():
        assert torch.equal(value, beside.state_dict()[name])
    first = nets.Networks(2, 8, 2, 2, torch.Generator().manual_seed(0), with_score=True)
    assert not torch.equal(first.density.network[0].weight, beside.density.network[0].weight)


def test_threads_take_a_network_each_and_change_no_bit():
    def learnt(share):
        networks = nets.Networks(2, 8, 2, 2, torch.Generator().manual_seed(0), with_score=True)
        return matching.match(
            networks, [interval()], size=8, n_steps=3, lr=0.1, generator=torch.Generator().manual_seed(0),
            on_step=lambda: None, share=share,
        )  # fmt: skip

    calls = []
    with shared_by(2, torch.device("cpu")) as share:
        networks, history = learnt(lambda function, parts: (calls.append(parts), share(function, parts))[1])
    alone, its = learnt(map)
    assert [len(parts) for parts in calls] == [3, 3, 3]
    for name, value in alone.state_dict().items():
        assert torch.equal(value, networks.state_dict()[name])
    np.testing.assert_array_equal([*history.values()], [*its.values()])


def test_divergence_is_an_error():
    broken = interval()
    broken.early = torch.full_like(broken.early, torch.inf)
    with pytest.raises(FloatingPointError, match="not finite"):
        matching.match(
            nets.Networks(2, 8, 1, 2, torch.Generator().manual_seed(0)), [broken], size=8, n_steps=3, lr=0.1,
            generator=torch.Generator().manual_seed(0), on_step=lambda: None,
        )  # fmt: skip
