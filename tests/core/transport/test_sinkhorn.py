"""The solver against the conditions that define its solution, then against POT where that is valid."""

import numpy as np
import ot
import pytest
import torch

from vgfm_sc.core.transport import newton, sinkhorn
from vgfm_sc.core.transport.pairs import Pairs
from vgfm_sc.core.transport.support import Matrix, Support

TOL = 1e-5


def clouds(n, m, d, seed=0, apart=0.5):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), apart + rng.standard_normal((m, d))
    return torch.as_tensor(x) / (2 * d) ** 0.5, torch.as_tensor(y) / (2 * d) ** 0.5


def two_far_clusters(n, m):
    """Mass must change hands between clusters that no stored entry joins."""
    x, y = clouds(n, m, 3, seed=1, apart=0.0)
    x[n // 3 :, 0] += 4
    y[2 * m // 3 :, 0] += 4
    return x, y


def solve(x, y, eps, rho, **changed):
    a, b = torch.ones(len(x), dtype=torch.float64), torch.ones(len(y), dtype=torch.float64)
    if np.isinf(rho):
        a = a * (len(y) / len(x))
    settings = {"tol": TOL, "max_iter": 20_000} | changed
    pairs = Pairs(x, y, a, b, settings.pop("block", 5000))
    return sinkhorn.solve(pairs, eps=eps, rho=rho, generator=torch.Generator().manual_seed(0), **settings)


@pytest.mark.parametrize("eps", [1.0, 0.05, 0.002, 0.0003])
@pytest.mark.parametrize("rho", [0.05, 1.0, 20.0, np.inf])
@pytest.mark.parametrize("make", [lambda: clouds(120, 90, 5), lambda: two_far_clusters(90, 120)])
@pytest.mark.parametrize("whole", [True, False], ids=["all pairs", "pairs that matter"])
def test_marginals_and_optimality(make, eps, rho, whole, monkeypatch):
    if not whole:  # as in large problems
        monkeypatch.setattr(sinkhorn, "WHOLE_PAIRS", 0)
    x, y = make()
    solved = solve(x, y, eps, rho)
    plan = solved.entries.toarray()
    assert solved.converged
    assert solved.marginal_error < TOL
    np.testing.assert_allclose(plan.sum(0), 1, rtol=1e-6)
    want = np.exp(-solved.f / rho) * (len(y) / len(x) if np.isinf(rho) else 1.0)
    assert np.abs(plan.sum(1) - want).sum() / len(y) < 2 * TOL
    # the plan is the one that its potentials make
    log_plan = (solved.f[:, None] + solved.g - torch.cdist(x, y).square().numpy()) / eps
    if np.isinf(rho):
        log_plan += np.log(len(y) / len(x))
    np.testing.assert_allclose(plan, np.exp(log_plan), atol=1e-6)


@pytest.mark.parametrize(("eps", "rho"), [(0.05, 0.5), (0.02, 2.0), (0.1, 20.0)])
def test_agrees_with_pot_in_its_safe_range(eps, rho):
    x, y = clouds(60, 80, 4)
    cost = torch.cdist(x, y).square().numpy()
    reference = ot.unbalanced.sinkhorn_unbalanced(
        np.ones(60), np.ones(80), cost, reg=eps, reg_m=(rho, np.inf), reg_type="kl", numItermax=200_000, stopThr=1e-13
    )
    np.testing.assert_allclose(solve(x, y, eps, rho, tol=1e-9).entries.toarray(), reference, atol=1e-7)


def test_balanced_agrees_with_pot():
    x, y = clouds(60, 60, 4)
    reference = ot.sinkhorn(
        np.ones(60), np.ones(60), torch.cdist(x, y).square().numpy(), 0.05, stopThr=1e-12, numItermax=10**5
    )
    np.testing.assert_allclose(solve(x, y, 0.05, np.inf, tol=1e-9).entries.toarray(), reference, atol=1e-7)


def test_small_eps_approaches_exact_transport():
    x, y = clouds(70, 70, 3)
    cost = torch.cdist(x, y).square().numpy()
    plan = solve(x, y, 2e-4, np.inf).entries.toarray()
    exact = ot.emd2(np.ones(70), np.ones(70), cost)
    assert exact - 1e-3 <= (plan * cost).sum() <= exact * 1.01


def test_no_other_plan_is_better():
    """Moving mass within a column, which keeps the exact marginal, never lowers the objective."""
    eps, rho = 0.02, 0.7
    x, y = clouds(40, 50, 3)
    cost = torch.cdist(x, y).square().numpy()

    def objective(plan):
        row = plan.sum(1)
        entropy = (plan * np.log(np.maximum(plan, 1e-300)) - plan).sum()
        return (plan * cost).sum() + eps * entropy + rho * (row * np.log(row) - row).sum()

    plan = solve(x, y, eps, rho, tol=1e-10).entries.toarray()
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = plan * np.exp(0.1 * rng.standard_normal(plan.shape))
        assert objective(other / other.sum(0)) > objective(plan)


def test_blocks_and_subsample_do_not_change_the_answer(monkeypatch):
    x, y = clouds(300, 250, 4)
    whole = solve(x, y, 0.01, 1.0, block=10**6, tol=1e-8)
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 60)
    blocked = solve(x, y, 0.01, 1.0, block=700, tol=1e-8)
    np.testing.assert_allclose(blocked.entries.toarray(), whole.entries.toarray(), atol=1e-6)


def test_iteration_cap_is_reported():
    x, y = two_far_clusters(90, 120)
    solved = solve(x, y, 0.0003, 20.0, max_iter=3)
    assert not solved.converged
    assert solved.marginal_error > TOL


def test_masses_are_respected():
    x, y = clouds(50, 40, 3)
    rng = np.random.default_rng(0)
    a, b = torch.as_tensor(rng.uniform(0.5, 2, 50)), torch.as_tensor(rng.uniform(0.5, 2, 40))
    pairs, draw = Pairs(x, y, a, b, 5000), torch.Generator().manual_seed(0)
    solved = sinkhorn.solve(pairs, eps=0.02, rho=1.0, tol=1e-8, max_iter=5000, generator=draw)
    np.testing.assert_allclose(solved.entries.sum(0), b.numpy(), rtol=1e-6)
    np.testing.assert_allclose(solved.entries.sum(1), a.numpy() * np.exp(-solved.f), rtol=1e-5)


def test_newton_gains_digits_that_alternation_does_not():
    """From the same start: the ascent reaches 1e-9 in fewer products than 50 alternations take to reach 1e-2."""
    x, y = clouds(100, 100, 3)
    a = b = np.ones(100)
    eps, rho = 0.02, 5.0
    cost = torch.cdist(x, y).square().numpy()
    f, g = np.zeros(100), np.zeros(100)
    for k in range(50):
        g = -eps * np.log(np.exp((f[:, None] - cost) / eps).sum(0))
        row = np.exp((f[:, None] + g - cost) / eps).sum(1)
        if k == 0:
            start = f.copy(), g.copy()
        alternated = np.abs(np.exp(-f / rho) - row).sum() / 100
        f = -eps * rho / (rho + eps) * np.log(np.exp((g - cost) / eps).sum(1))
    f, g = start
    for _ in range(10):
        plan = np.exp((f[:, None] + g - cost) / eps)
        i, j = (torch.as_tensor(index, dtype=torch.int32) for index in np.indices(plan.shape).reshape(2, -1))
        matrix = Matrix.of(i, j, torch.as_tensor(plan.ravel()), plan.shape)
        f, _, done = newton.ascend(
            matrix,
            torch.as_tensor(f),
            torch.as_tensor(a),
            torch.as_tensor(b),
            eps=eps,
            rho=rho,
            tol=1e-10,
            max_iter=1000,
        )
        f = f.numpy()
        g = -eps * np.log(np.exp((f[:, None] - cost) / eps).sum(0))
        if done:
            break
    plan = np.exp((f[:, None] + g - cost) / eps)
    assert done
    assert np.abs(np.exp(-f / rho) - plan.sum(1)).sum() / 100 < 1e-9
    assert alternated > 1e-3


def error_over_all_pairs(solved, x, y, a, eps, rho):
    """From the potentials alone."""
    cost = (x[:, None] - y).square().sum(2).numpy()
    row = (a * np.exp((solved.f[:, None] + solved.g - cost) / eps)).sum(1)
    return np.abs(a * np.exp(-solved.f / rho) - row).sum() / len(y)


@pytest.mark.parametrize("coarse", [15, 30, 60])
def test_near_matching_in_many_dimensions_survives_a_poor_start(monkeypatch, coarse):
    """In 50 dimensions all cells are far from a subsample, so that its potentials say little about theirs."""
    x, y = clouds(90, 80, 50)
    whole = solve(x, y, 0.002, 0.5, tol=1e-8)
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    solved = solve(x, y, 0.002, 0.5, tol=1e-8)
    assert solved.converged
    assert solved.entries.nnz < 5 * 80  # of 7,200
    np.testing.assert_allclose(solved.entries.toarray(), whole.entries.toarray(), atol=1e-5)
    np.testing.assert_allclose(solved.f, whole.f, atol=1e-5)
    # two sums of the same terms differ by their rounding, times what eps makes of it
    assert solved.marginal_error == pytest.approx(error_over_all_pairs(solved, x, y, 1.0, 0.002, 0.5), abs=1e-11)


def test_error_is_over_all_pairs_however_few_are_stored(monkeypatch):
    monkeypatch.setattr(sinkhorn, "SHARE", 0.02)
    x, y = clouds(60, 50, 4)
    solved = solve(x, y, 0.05, 0.5)
    stored = np.abs(np.exp(-solved.f / 0.5) - solved.entries.sum(axis=1)).sum() / 50
    assert stored > 0.01
    assert solved.converged
    assert solved.marginal_error == pytest.approx(error_over_all_pairs(solved, x, y, 1.0, 0.05, 0.5), abs=1e-11)


@pytest.mark.parametrize("coarse", [20, 1000])
@pytest.mark.parametrize(("eps", "rho"), [(0.05, 0.5), (0.05, 20.0), (0.05, np.inf), (0.002, 0.5)])
def test_pairs_that_a_stage_left_out_come_back(monkeypatch, coarse, eps, rho):
    """With a share of 0.01, below 1 / 60, every target keeps a source."""
    x, y = clouds(60, 50, 4)
    want = solve(x, y, eps, rho, tol=1e-8)
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    monkeypatch.setattr(sinkhorn, "STAGE_SHARE", 0.01)
    found = solve(x, y, eps, rho, tol=1e-8)
    assert found.converged
    np.testing.assert_allclose(found.entries.toarray(), want.entries.toarray(), atol=1e-6)


@pytest.mark.parametrize("eps", [0.05, 0.002])
def test_support_that_lacks_most_pairs_is_extended(eps):
    """Begun on every target's nearest source and every source's nearest target."""
    x, y = clouds(60, 50, 4)
    pairs = Pairs(x, y, torch.ones(60).double(), torch.ones(50).double(), 500)
    cost = (x[:, None] - y).square().sum(2)
    mask = (cost == cost.amin(0)) | (cost == cost.amin(1, keepdim=True))
    nearest = Support(mask.sum(1), mask.nonzero()[:, 1].int(), cost[mask], (60, 50))
    reached = sinkhorn._stage(
        pairs, torch.zeros(60).double(), nearest, eps, (0.5, np.inf), 1e-8, sinkhorn.SHARE, 20_000
    )
    want = solve(x, y, eps, 0.5, tol=1e-8).entries.toarray()
    assert reached.marginal_error < 1e-8
    assert (want[~mask] > 0.01).any()
    np.testing.assert_allclose(reached.support.csr(reached.mass).toarray(), want, atol=1e-6)


def test_no_products_are_made_where_none_are_allowed():
    solved = solve(*clouds(30, 30, 3), 0.01, 1.0, max_iter=0)
    assert solved.n_iter == 0
    assert not solved.converged


def test_tolerance_out_of_reach_ends_without_convergence():
    """With what rounding leaves of the error, and said not to have converged."""
    solved = solve(*clouds(30, 30, 3), 0.01, 1.0, tol=0.0, max_iter=3000)
    assert not solved.converged
    assert solved.marginal_error < 1e-9


@pytest.mark.parametrize("coarse", [20, 1000])
@pytest.mark.parametrize("eps", [0.1, 0.002])
@pytest.mark.parametrize("rho", [0.5, 20.0, np.inf])
def test_single_target_is_shared_by_a_softmax(monkeypatch, coarse, eps, rho):
    """One target leaves one unknown, so the plan has a closed form."""
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    x, y = clouds(40, 1, 3)
    solved = solve(x, y, eps, rho, tol=1e-7)
    want = torch.softmax(-(x - y).square().sum(1) / (eps + rho), 0)
    assert solved.converged
    np.testing.assert_allclose(solved.entries.toarray()[:, 0], want, atol=2e-7)


@pytest.mark.parametrize("coarse", [20, 1000])
@pytest.mark.parametrize("eps", [0.1, 0.002])
@pytest.mark.parametrize("rho", [0.5, np.inf])
def test_single_source_serves_every_target(monkeypatch, coarse, eps, rho):
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    solved = solve(*clouds(1, 40, 3), eps, rho)
    assert solved.converged
    np.testing.assert_allclose(solved.entries.toarray(), np.ones((1, 40)), rtol=1e-9)
    assert np.exp(-solved.f[0] / rho) == pytest.approx(1.0 if np.isinf(rho) else 40, rel=TOL)


@pytest.mark.parametrize("coarse", [20, 1000])
@pytest.mark.parametrize("rho", [0.5, np.inf])
def test_cells_that_are_all_one_point_share_alike(monkeypatch, coarse, rho):
    """Their mean cost is zero: no eps is larger."""
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    point, _ = clouds(1, 1, 3)
    solved = solve(point.repeat(60, 1), point.repeat(50, 1), 0.002, rho)
    assert solved.converged
    np.testing.assert_allclose(solved.entries.toarray(), np.full((60, 50), 1 / 60), rtol=1e-6)


@pytest.mark.parametrize("coarse", [20, 1000])
def test_duplicates_of_a_cell_get_the_same(monkeypatch, coarse):
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    x, y = clouds(60, 50, 3)
    x[:30], y[:20] = x[0].clone(), y[0].clone()
    solved = solve(x, y, 0.002, 0.5, tol=1e-8)
    plan = solved.entries.toarray()
    assert solved.converged
    np.testing.assert_allclose(plan[:30], plan[:1].repeat(30, axis=0), atol=1e-6)
    np.testing.assert_allclose(plan[:, :20], plan[:, :1].repeat(20, axis=1), atol=1e-6)


@pytest.mark.parametrize("coarse", [30, 1000])
@pytest.mark.parametrize("shape", [(3, 400), (400, 3)])
@pytest.mark.parametrize(("eps", "rho"), [(0.002, 0.5), (0.05, np.inf)])
def test_few_cells_against_many(monkeypatch, coarse, shape, eps, rho):
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    x, y = clouds(*shape, 3)
    solved = solve(x, y, eps, rho)
    a = shape[1] / shape[0] if np.isinf(rho) else 1.0
    assert solved.converged
    np.testing.assert_allclose(solved.entries.sum(axis=0), 1, rtol=1e-6)
    assert np.abs(solved.entries.sum(axis=1) - a * np.exp(-solved.f / rho)).sum() / shape[1] < 2 * TOL


@pytest.mark.parametrize("d", [3, 50])
def test_balanced_plan_from_a_subsample_is_the_plan(monkeypatch, d):
    x, y = clouds(90, 80, d)
    whole = solve(x, y, 0.02, np.inf, tol=1e-8)
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 30)
    solved = solve(x, y, 0.02, np.inf, tol=1e-8)
    assert solved.converged
    np.testing.assert_allclose(solved.entries.sum(axis=1), 80 / 90, rtol=1e-5)
    np.testing.assert_allclose(solved.entries.toarray(), whole.entries.toarray(), atol=1e-6)


@pytest.mark.parametrize("stray", [0.0, 500.0])
def test_subsample_gives_a_start_near_the_solution(monkeypatch, stray):
    """Where potentials are smooth: in two dimensions. A stray cell moves the centre of all, not of the subsample."""
    x, y = clouds(300, 250, 2)
    x[7] += stray
    want = solve(x, y, 0.02 / sinkhorn.EPS_STEP, 0.5).f
    starts, stage = [], sinkhorn._stage

    def recorded(pairs, f, *settings):
        starts.append(f.numpy())
        return stage(pairs, f, *settings)

    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 60)
    monkeypatch.setattr(sinkhorn, "_stage", recorded)
    solve(x, y, 0.02, 0.5)
    off, want = (np.delete(values, 7) for values in (next(f for f in starts if len(f) == 300) - want, want))
    assert np.std(off) < 0.4 * np.std(want)
    assert abs(np.mean(off)) < 0.2 * np.std(want)  # masses of the subsample taken as 1 would make it 0.7


@pytest.mark.parametrize(("cost", "rho"), [(8.0, 0.2), (12.0, 0.5), (20.0, 0.5), (60.0, 0.5)])
def test_a_source_with_next_to_no_mass_has_the_mass_of_its_potential(cost, rho):
    """An error that is a share of the total mass does not see it; its growth is still to be right."""
    x, y = clouds(300, 300, 3)
    x[0] = torch.tensor([cost**0.5, 0.0, 0.0])
    solved = solve(x, y, 0.002, rho, tol=1e-4)
    row = solved.entries.sum(1)
    assert solved.converged
    assert 0 < row[0] < 1e-3
    np.testing.assert_allclose(np.log(row), -solved.f / rho, atol=1e-3)


@pytest.mark.parametrize("rho", [1e4, 1e5])
def test_large_rho_between_snapshots_of_unlike_size_converges_soon(rho):
    x, y = clouds(50, 900, 3)
    solved = solve(x, y, 0.01, rho, tol=1e-4)
    assert solved.converged
    assert solved.n_iter < 1000
    np.testing.assert_allclose(solved.entries.sum(1), 18, rtol=1e-2)


def test_cells_too_far_for_any_mass_leave_the_others_right():
    x, y = clouds(200, 200, 3)
    alone = solve(x, y, 0.002, 0.2, tol=1e-6)
    stray = solve(torch.cat([x, x[:2] + 30]), y, 0.002, 0.2, tol=1e-6)
    assert stray.converged
    assert np.isfinite(stray.f).all()
    np.testing.assert_allclose(stray.entries.toarray()[:200], alone.entries.toarray(), atol=1e-5)


@pytest.mark.parametrize("coarse", [30, 1000])
@pytest.mark.parametrize("most", [1, 10, 100, 200])
def test_all_stages_together_keep_to_the_cap(monkeypatch, coarse, most):
    """To within the Newton step that passes it."""
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    monkeypatch.setattr(newton, "CG_ITERATIONS", 20)
    solved = solve(*clouds(90, 120, 3), 0.0003, 20.0, max_iter=most)
    assert not solved.converged
    assert most <= solved.n_iter <= most + 2 * 20 + 30


@pytest.mark.parametrize("rho", [5.0, np.inf])
def test_potentials_do_not_run_away_on_pairs_that_fit_no_plan(monkeypatch, rho):
    """From a subsample of one cell, the first pairs join two sources to the same target alone."""
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 1)
    x, y = torch.tensor([[-0.46], [-0.12], [1.18]]).double(), torch.tensor([[0.82], [-0.81], [0.35]]).double()
    solved = solve(x, y, 0.01, rho)
    assert solved.converged
    # in order: the next best costs 0.8 more, 80 eps
    np.testing.assert_allclose(solved.entries.toarray(), [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-3)


@pytest.mark.parametrize("d", [2, 10])
def test_all_pairs_are_looked_at_again_before_potentials_run_away(monkeypatch, d):
    """Of heavy tails a subsample says little: the first pairs are the wrong ones."""
    rng = np.random.default_rng(0)
    x, y = (torch.as_tensor(rng.standard_t(2, (n, d))) for n in (300, 200))
    unit = torch.cat([x, y]).std(0) * (2 * d) ** 0.5
    for name, small in (("COARSE_CELLS", 30), ("WHOLE_PAIRS", 0)):
        monkeypatch.setattr(sinkhorn, name, small)
    soon = solve(x / unit, y / unit, 0.002, 1.0)
    monkeypatch.setattr(sinkhorn, "FAR", np.inf)
    late = solve(x / unit, y / unit, 0.002, 1.0)
    assert soon.converged and late.converged
    assert 1.5 * soon.n_iter < late.n_iter


@pytest.mark.parametrize("d", [3, 50])
def test_balanced_near_matching_from_a_subsample_converges(monkeypatch, d):
    x, y = clouds(200, 180, d, seed=1)
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 30)
    solved = solve(x, y, 0.002, np.inf, tol=1e-4)
    assert solved.converged
    assert np.abs(solved.entries.sum(axis=1) - 180 / 200).sum() / 180 < 2e-4


@pytest.mark.parametrize("coarse", [30, 1000])
def test_products_of_all_stages_are_counted(monkeypatch, coarse):
    made, ascend = [], newton.ascend

    def counted(*args, **settings):
        found = ascend(*args, **settings)
        made.append(found[1])
        return found

    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", coarse)
    monkeypatch.setattr(newton, "ascend", counted)
    assert solve(*clouds(90, 120, 3), 0.01, 1.0).n_iter == sum(made) > 0


def test_shift_of_potentials_does_not_overflow(monkeypatch):
    monkeypatch.setattr(sinkhorn, "COARSE_CELLS", 1)
    solved = solve(torch.tensor([[0.0], [8.0]]).double(), torch.tensor([[9.0], [8.5]]).double(), 0.002, 0.05)
    assert solved.converged
    assert np.isfinite(solved.f).all()
