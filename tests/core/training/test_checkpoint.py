"""Stages that were broken off, on networks alone; `tests/tl/test_checkpoint.py` breaks whole fits off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from vgfm_sc.core.coupling import Coupling
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.path import straight
from vgfm_sc.core.training import fitting, matching
from vgfm_sc.core.training.checkpoint import NOWHERE, Checkpoint, Underway
from vgfm_sc.core.training.settings import Settings

SETTINGS = Settings(8, 2, 1, 16, 0.05, 34, 12, 0.01, 1.0, None, True, 0)


def cells(k: int) -> torch.Tensor:
    return torch.randn(20, 2, generator=torch.Generator().manual_seed(k)) + k


def stage(name, on_step, underway, n_conditions=0):
    """What comes out of a stage, and the generator after it."""
    generator = torch.Generator().manual_seed(5)
    networks = Networks(2, 8, 2, 2, torch.Generator().manual_seed(0), with_score=True, n_conditions=n_conditions)
    conditions = range(n_conditions) if n_conditions else [None]
    given = {"generator": generator, "on_step": on_step, "underway": underway}
    if name == "fitting":
        samples = [
            fitting.Sample([cells(k) for k in range(3)], [0.0, 1.0, 1.5], [1.0, 2.0, 3.0], 20, c) for c in conditions
        ]
        found, history = fitting.fit(networks, samples, None, SETTINGS, **given)
    else:
        plan = Coupling(csr_array(np.full((20, 20), 0.1)), np.ones(20), True, 0, 0.0)
        ends = (cells(0), cells(1)), (0.0, 1.0)
        spread = matching.Spread((0.1, 0.2), (0.1, 0.2), 0.1)
        intervals = [matching.Interval(plan, *ends, straight, spread, None, c) for c in conditions]
        found, history = matching.match(networks, intervals, size=16, n_steps=34, lr=0.05, **given)
    return found.state_dict() | {k: torch.as_tensor(v) for k, v in history.items()} | {"rng": generator.get_state()}


def interrupted_at(*steps):
    """An ``on_step`` that is interrupted after each of ``steps``, counted over all calls."""
    done = []

    def on_step():
        done.append(1)
        if len(done) in steps:
            raise KeyboardInterrupt

    return on_step, done


@pytest.mark.parametrize("n_conditions", [0, 2])
@pytest.mark.parametrize(("name", "block"), [("matching", 7), ("fitting", 10)])
def test_a_stage_interrupted_twice_ends_as_one_that_was_not(tmp_path, monkeypatch, name, block, n_conditions):
    monkeypatch.setattr(matching, "BLOCK_NUMBERS", 7 * 16 * 2 * max(1, n_conditions))  # seven steps are drawn at once
    whole = stage(name, lambda: None, NOWHERE, n_conditions)
    kept = Checkpoint(tmp_path, "run")
    on_step, done = interrupted_at(13, 30)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), Underway(kept, name) as underway:
            stage(name, on_step, underway, n_conditions)
    with Underway(kept, name) as underway:
        found = stage(name, on_step, underway, n_conditions)
    assert found.keys() == whole.keys()
    for part, values in whole.items():
        torch.testing.assert_close(found[part], values, rtol=0, atol=0, equal_nan=True)
    begun = (13 // block * block, (13 // block * block + 17) // block * block)  # where the second and third call start
    assert len(done) == 30 + 34 - begun[1]
    assert underway.found is not None and int(underway.found["step"]) == begun[1]
    underway.done()
    assert Underway(kept, name).found is None and not list(tmp_path.iterdir())


def test_an_interrupt_before_anything_was_reached_writes_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), Underway(Checkpoint(tmp_path, "run"), "matching"):
        raise KeyboardInterrupt
    assert not list(Path(tmp_path).iterdir())


def test_what_is_written_is_what_was_reached_not_what_came_after(tmp_path):
    kept, weights, losses = Checkpoint(tmp_path, "run"), torch.zeros(3), [1.0 / 3]
    with pytest.raises(KeyboardInterrupt), Underway(kept, "fitting") as underway:
        underway.reached({"weights": weights, "losses": losses, "step": 4})
        weights += 1
        losses.append(2.0)
        raise KeyboardInterrupt
    found = Underway(kept, "fitting").found
    np.testing.assert_array_equal(found["weights"], np.zeros(3, np.float32))
    assert found["losses"].tolist() == [1.0 / 3] and int(found["step"]) == 4
