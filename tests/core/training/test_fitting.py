import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from vgfm_sc.core.dynamics import flow
from vgfm_sc.core.dynamics import networks as nets
from vgfm_sc.core.training import fitting
from vgfm_sc.core.training.energy import energy_distance
from vgfm_sc.core.training.settings import Settings

COUNTS = (3, 2)


def course(n=25, d=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    snapshots = [torch.randn(n + 5 * k, d, generator=g, dtype=torch.float64) + k for k in range(3)]
    return fitting.Sample(snapshots, [-1.0, 0.2, 1.0], [1.0, 1.2, 1.4], n)


def single():
    """`course` in single precision."""
    return fitting.Sample([x.float() for x in course().snapshots], *course()[1:])


def made(width=8, seed=0):
    return nets.Networks(2, width, 2, 3, torch.Generator().manual_seed(seed))


def networks(seed=0):
    return made(8, seed).double()


@pytest.mark.parametrize("part", ["velocity", "growth"])
def test_gradient_of_both_networks_agrees_with_finite_differences(part):
    model, data = networks(), course()
    fitting.distribution_loss(model, data, COUNTS, mass_weight=3.0).backward()
    rng = np.random.default_rng(0)
    for name, weight in model.named_parameters():
        if not name.startswith(part):
            continue
        direction = torch.as_tensor(rng.standard_normal(weight.shape))
        slope, h = float((weight.grad * direction).sum()), 1e-6
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * h * direction
                values.append(float(exact_loss(model, data, mass_weight=3.0)))
                weight -= sign * h * direction
        assert slope == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-4, abs=1e-7), name
        assert slope != 0


def exact_loss(model, data, *, mass_weight):
    """The loss written anew, without gradients."""
    x, log_m, loss = data.snapshots[0], torch.zeros(len(data.snapshots[0]), dtype=torch.float64), 0.0
    for k in (1, 2):
        start, stop = data.times[k - 1], data.times[k]
        x, log_m = flow.runge_kutta(model, x, log_m, start, stop, COUNTS[k - 1])
        at, y, mass = x.detach().numpy(), data.snapshots[k].numpy(), log_m.detach().exp().numpy()
        p = mass / mass.sum()
        loss += 2 * (p @ cdist(at, y)).mean() - p @ cdist(at, at) @ p - cdist(y, y).mean()
        loss += mass_weight * (mass.mean() / data.totals[k] - 1) ** 2
    return loss


def fit(model, data, held_out=None, matched=None, **changed):
    of_matching = {
        "width": 8,
        "depth": 2,
        "match_steps": 1,
        "match_size": 1,
        "match_lr": 1.0,
        "score": False,
        "seed": 0,
    }
    of_fitting = {"fit_steps": 20, "fit_cells": 50, "fit_lr": 0.01, "mass_weight": 5.0, "patience": None} | changed
    settings = Settings(**of_matching, **of_fitting)
    draw = torch.Generator().manual_seed(0)
    out = None if held_out is None else [held_out]
    data = [data] if isinstance(data, fitting.Sample) else data
    return fitting.fit(model, data, out, settings, generator=draw, on_step=lambda: None, matched=matched)


def test_the_loss_of_matching_is_added_and_draws_its_pairs_from_the_generator_of_the_stage():
    def none(networks, generator):
        drawn.append(float(torch.rand((), generator=generator)))
        return 0 * next(networks.parameters()).sum()

    def strong(networks, generator):
        off = (networks.velocity[-1].bias - 1).square().sum()
        strayed.append(off.item())
        return 1e4 * off

    drawn, strayed, losses = [], [], {}
    for name, matched in (("alone", None), ("none", none), ("strong", strong)):
        losses[name] = fit(made(), single(), matched=matched, fit_steps=40, fit_lr=0.1)[1]["loss"]
    assert len(set(drawn)) == 40
    np.testing.assert_allclose(losses["none"], losses["alone"])
    assert strayed[-1] < 0.1 * strayed[0]
    assert losses["strong"].max() < 0.1 * strayed[0] * 1e4  # the loss that is told is that of fitting


def test_each_condition_is_fitted_to_its_own_cells_and_all_are_judged():
    data = single()
    moved = data._replace(snapshots=[data.snapshots[0], *(x * torch.tensor([1.0, -1.0]) for x in data.snapshots[1:])])
    samples = [data._replace(condition=0), moved._replace(condition=1)]
    model = nets.Networks(2, 16, 2, 3, torch.Generator().manual_seed(0), n_conditions=2)
    before = [fitting.score(model, sample) for sample in samples]
    best, history = fit(model, samples, fit_steps=60, fit_lr=0.1)
    after = [fitting.score(best, sample) for sample in samples]
    assert max(after) < 0.7 * min(before)
    assert history["score"][0] == pytest.approx(np.mean(before)) and history["score"].min() == pytest.approx(
        np.mean(after)
    )
    exchanged = [fitting.score(best, s._replace(condition=1 - s.condition)) for s in samples]
    assert min(exchanged) > 2 * max(after)


def test_conditions_share_the_cells_of_a_step_down_to_a_least_number(monkeypatch):
    seen, real = [], fitting.distribution_loss

    def loss(model, sample, counts, **others):
        seen.append([len(x) for x in sample.snapshots])
        return real(model, sample, counts, **others)

    monkeypatch.setattr(fitting, "distribution_loss", loss)
    cells = [torch.randn(600, 2, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    for n, fit_cells, drawn in ((2, 800, 400), (4, 400, fitting.FEWEST), (2, 100, 100), (1, 300, 300)):
        seen.clear()
        model = nets.Networks(2, 4, 2, 2, torch.Generator().manual_seed(0), n_conditions=n)
        samples = [fitting.Sample(cells, [-0.5, 0.5], [1.0, 1.0], 600, k) for k in range(n)]
        fit(model, samples, fit_steps=1, fit_cells=fit_cells)
        assert seen == [[drawn, drawn]] * n


def test_fitting_lowers_the_score_of_an_untrained_model():
    data = single()
    model = made(16)
    before = fitting.score(model, data)
    best, history = fit(model, data, fit_steps=40, fit_lr=0.1)
    assert fitting.score(best, data) < 0.7 * before
    assert history["score"][0] == pytest.approx(before)


def test_a_careless_rate_never_returns_a_worse_model():
    data = single()
    good, _ = fit(made(16), data, fit_steps=40, fit_lr=0.1)
    before = fitting.score(good, data)
    spoiled, history = fit(good, data, fit_steps=10, fit_lr=0.1)
    assert history["score"][1:].max() > before  # steps did harm
    assert fitting.score(spoiled, data) <= before + 1e-9


def test_steps_are_as_many_as_an_interval_needs():
    data = course()
    at_rest = networks()
    for part in (at_rest.velocity, at_rest.growth):
        torch.nn.init.zeros_(part[-1].weight)
    assert fitting.step_counts(at_rest, data) == [1, 1]
    model = networks()
    with torch.no_grad():
        model.velocity[0].weight *= 6  # changes fast in place and time
        model.velocity[-1].weight *= 6
    counts = fitting.step_counts(model, data)
    assert counts[0] > 1
    x, interval = data.snapshots[0], data.times[:2]
    exact, _ = flow.integrate(model.individual, x, torch.zeros_like(x[:, 0]), interval, tol=1e-8)
    errors = []
    for n in (counts[0], counts[0] // 2):
        reached, _ = flow.runge_kutta(model.individual, x, torch.zeros_like(x[:, 0]), *interval, n)
        errors.append(float((reached - exact[1]).detach().square().mean().sqrt()))
    assert errors[0] <= 1.1 * fitting.STEP_ERROR < errors[1]


def test_cost_of_a_step_does_not_grow_with_the_data(monkeypatch):
    seen = []

    def counted(x, log_m, y):
        seen.append((len(x), len(y)))
        return energy_distance(x, log_m, y)

    monkeypatch.setattr(fitting, "energy_distance", counted)
    g = torch.Generator().manual_seed(0)
    cells = [torch.randn(3000, 2, generator=g) for _ in range(2)]
    data = fitting.Sample(cells, [-0.5, 0.5], [1.0, 1.0], 3000)
    monkeypatch.setattr(fitting, "CHECK_CELLS", 100)
    fit(made(), data, fit_steps=2, fit_cells=64)
    assert set(seen) == {(100, 100), (64, 64)}


def test_a_population_that_has_shrunk_is_drawn_apart_again():
    """In many dimensions few cells, compared by W1, do best when they are drawn together."""
    g = torch.Generator().manual_seed(0)
    cells = [torch.randn(n, 30, generator=g) for n in (100, 300)]
    spread = torch.ones(30, requires_grad=True)
    with torch.enable_grad():
        energy_distance(spread * cells[0], torch.zeros(100), cells[1]).backward()
    assert abs(float(spread.grad.sum())) < 0.1 * 30**0.5
    shrunk = torch.full((30,), 0.8, requires_grad=True)
    energy_distance(shrunk * cells[0], torch.zeros(100), cells[1]).backward()
    assert float(shrunk.grad.sum()) < -0.1 * 30**0.5


def test_energy_distance_of_equal_clouds_is_0_and_of_any_others_above():
    g = torch.Generator().manual_seed(0)
    x, log_m = torch.randn(50, 3, generator=g, dtype=torch.float64), torch.zeros(50, dtype=torch.float64)
    assert float(energy_distance(x, log_m, x)) == pytest.approx(0, abs=1e-12)
    assert float(energy_distance(x + 1e-3, log_m, x)) > 0
    heavy = torch.zeros(50, dtype=torch.float64)
    heavy[0] = 5.0  # a cell that gathers the mass, and others that run away
    assert float(energy_distance(x * 100, heavy, x)) > 0


def test_a_loss_that_is_not_finite_ends_it_and_the_model_before_it_is_kept(monkeypatch):
    data = single()
    model = made()
    before = fitting.score(model, data)
    real = fitting.distribution_loss
    monkeypatch.setattr(fitting, "distribution_loss", lambda *a, **k: real(*a, **k) * torch.nan)
    kept, history = fit(model, data, fit_steps=5)
    assert fitting.score(kept, data) == pytest.approx(before)
    assert len(history["loss"]) == 1 and not np.isfinite(history["loss"]).any()


def resting(n_conditions=0):
    """Networks of cells that stand still and do not grow."""
    model = nets.Networks(2, 4, 2, 2, torch.Generator().manual_seed(0), n_conditions=n_conditions)
    with torch.no_grad():
        for network in (model.velocity, model.growth):
            for part in network[-1].parameters():
                part.zero_()
    return model


def unchanged_population(n, condition=None, wider=1.0):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return fitting.Sample([x, x * torch.tensor([1.0, wider])], [-0.5, 0.5], [1.0, 1.0], n, condition)


@pytest.mark.parametrize(
    ("reached", "n", "wider", "held_out", "steps"),
    [
        (6e-4, 500, 1.0, False, 0),
        (6e-4, 500, 1.01, False, 0),
        (6e-4, 500, 1.02, False, 10),  # variance is 4% more
        (6e-4, 500, 0.98, False, 10),
        (8e-4, 500, 1.0, False, 10),
        (6e-4, 4000, 1.0, False, 10),  # two draws of 500 cells differ by .0056, of 4,000 by .0007
        (6e-4, 500, 1.0, True, 10),
        (np.nan, 500, 1.0, False, 10),
    ],
)
def test_no_step_is_taken_where_nothing_is_left_to_be_fitted(monkeypatch, reached, n, wider, held_out, steps):
    monkeypatch.setattr(fitting, "score", lambda *args: reached)
    data = unchanged_population(n, wider=wider)
    _, history = fit(resting(), data, data if held_out else None, fit_steps=10)
    assert len(history["loss"]) == steps
    assert history["check_step"].tolist() == [0, 10][: 1 + (steps > 0)]
    np.testing.assert_array_equal(history["score"], reached)


def test_all_conditions_must_be_met_for_fitting_to_be_left_out(monkeypatch):
    found = {0: 1e-4, 1: 1e-2}
    monkeypatch.setattr(fitting, "score", lambda model, sample: found[sample.condition])
    samples = [unchanged_population(500, k) for k in range(2)]
    assert len(fit(resting(2), samples, fit_steps=1)[1]["loss"]) == 1
    found[1] = 1e-4
    assert len(fit(resting(2), samples, fit_steps=1)[1]["loss"]) == 0


@pytest.mark.parametrize(("patience", "steps"), [(1, 10), (10, 10), (15, 15), (20, 20), (None, 35)])
def test_fitting_ends_when_the_score_has_not_improved_for_so_long(monkeypatch, patience, steps):
    """Never before the first check, after 10 steps."""
    monkeypatch.setattr(fitting, "score", lambda *args: 1.0)
    model = made()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept, history = fit(model, single(), fit_steps=35, patience=patience)
    assert len(history["loss"]) == steps
    checks = [0, 10, 20, 30, 35] if patience is None else list(range(0, steps + 1, 10))
    assert history["check_step"].tolist() == checks and len(history["score"]) == len(checks)
    for name, value in kept.state_dict().items():
        assert torch.equal(value, before[name])


def test_fitting_by_patience_is_what_fitting_for_so_many_steps_begins_with(monkeypatch):
    monkeypatch.setattr(fitting, "score", lambda *args: 1.0)
    losses = [fit(made(), single(), fit_steps=25, patience=patience)[1]["loss"] for patience in (10, None)]
    np.testing.assert_array_equal(losses[0], losses[1][:10])


def test_patience_counts_from_the_last_improvement(monkeypatch):
    scores = iter([1.0, 0.9, 0.8, 0.85, 0.85, 0.85, 0.85])
    monkeypatch.setattr(fitting, "score", lambda *args: next(scores))
    _, history = fit(made(), single(), fit_steps=100, patience=20)
    assert len(history["loss"]) == 40


def test_improvements_too_small_to_matter_do_not_prolong_it_but_count(monkeypatch):
    scores = iter([1.0, 0.999, 0.998, 0.9975])
    monkeypatch.setattr(fitting, "score", lambda *args: next(scores))
    model = made()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept, history = fit(model, single(), fit_steps=100, patience=30)
    assert len(history["loss"]) == 30
    assert any(not torch.equal(value, before[name]) for name, value in kept.state_dict().items())


def test_held_out_cells_are_what_the_model_is_judged_on(monkeypatch):
    judged, real = [], fitting.score
    monkeypatch.setattr(fitting, "score", lambda model, on: judged.append(on) or real(model, on))
    data = single()
    held_out = data._replace(snapshots=[x + 5 for x in data.snapshots])
    fit(made(), data, held_out, fit_steps=10)
    assert judged
    for course_ in judged:
        for x in course_.snapshots:
            assert x.mean() > 4


def test_the_score_is_of_normalised_masses():
    """Total mass is made right after fitting, so it must not decide which model is kept."""
    data, model = single(), made()
    before = fitting.score(model, data)
    model.rates += 0.7
    assert fitting.score(model, data) == pytest.approx(before, rel=1e-4)


def test_squared_mass_error_of_a_sample_is_that_of_all_cells_on_average():
    """A plain square is too large by the variance of the sample's mean."""
    g = torch.Generator().manual_seed(0)
    log_m = torch.randn(40, generator=g, dtype=torch.float64)
    whole = float(fitting.squared_mass_error(log_m, 2.0, 40))
    assert whole == pytest.approx(float((log_m.exp().mean() / 2 - 1).square()))
    some = [log_m[torch.randperm(40, generator=g)[:10]] for _ in range(20_000)]
    found = np.asarray([float(fitting.squared_mass_error(part, 2.0, 40)) for part in some])
    plain = np.asarray([float((part.exp().mean() / 2 - 1).square()) for part in some])
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - whole) < 4 * error < plain.mean() - whole
