import threading

import pytest
import torch

from vgfm_sc.core import threads
from vgfm_sc.core.device import threads_for
from vgfm_sc.core.training import fitting

from .training.test_fitting import COUNTS, course, networks


def layer():
    return torch.nn.Linear(3, 2, dtype=torch.float64)


def test_gradient_of_joined_parts_is_that_of_the_whole():
    one, x = layer(), torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    unused = torch.zeros(2, requires_grad=True)

    def function(part):
        y = one(part).sin()
        return y, y.square().sum(dim=1)

    y, z = threads.differentiable(function, x.tensor_split(3), [*one.parameters(), unused], map)
    torch.testing.assert_close(y, function(x)[0])
    (y.exp().sum() * z.sum()).backward()
    found = [parameter.grad.clone() for parameter in one.parameters()]
    assert unused.grad is None
    one.zero_grad()
    y, z = function(x)
    (y.exp().sum() * z.sum()).backward()
    torch.testing.assert_close(found, [parameter.grad for parameter in one.parameters()])


def test_threads_make_the_same_bits_each_with_one_of_torchs():
    def gradients(share):
        model = networks()
        fitting.distribution_loss(model, course(), COUNTS, mass_weight=3.0, share=share).backward()
        return [parameter.grad for parameter in model.parameters()]

    with threads.shared_by(2, torch.device("cpu")) as share:
        together = threading.Barrier(2)
        assert list(share(lambda _: (together.wait(10), torch.get_num_threads())[1], range(2))) == [1, 1]
        for one, other in zip(gradients(share), gradients(map), strict=True):
            assert torch.equal(one, other)


def test_an_error_in_a_thread_reaches_the_caller():
    with threads.shared_by(2, torch.device("cpu")) as share, pytest.raises(ZeroDivisionError):
        list(share(lambda x: 1 / x, [1, 0]))


def test_work_too_small_for_torchs_threads_is_shared_by_as_many(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    for numbers, torchs, side_by_side in ((1, 1, 6), (2**20, 2, 3), (2**21, 4, 1)):
        with threads_for(numbers) as n_threads:
            assert n_threads == side_by_side
        assert asked == [torchs, 6]
        asked.clear()
    with threads_for(2**30) as n_threads:
        assert n_threads == 1
    assert not asked


@pytest.mark.parametrize("n", [1, 2])
def test_beside_runs_in_a_thread_of_its_own_where_there_are_several(monkeypatch, n):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n)
    result = threads.beside(lambda a, b: (a + b, threading.get_ident()), 2, 3)
    total, ran_in = result()
    assert total == 5
    assert (ran_in == threading.get_ident()) == (n == 1)
    with pytest.raises(ZeroDivisionError):
        threads.beside(lambda: 1 / 0)()
