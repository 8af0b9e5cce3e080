"""What a checkpoint is known by."""

from functools import partial

import numpy as np
import pytest
import torch

from vgfm_sc import methods
from vgfm_sc.core.training.fingerprint import fingerprint

LONG = np.arange(5000.0)  # its repr leaves out the middle


def scaled(factor):
    def coupling(x0, x1, mass0, mass1, generator):
        return factor * mass0[:, None] * mass1

    return coupling


class Callable:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, *arguments):
        return self.weight


def changed(array):
    array = array.copy()
    array[2500] += 1e-12
    return array


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x + 1, lambda x: x + 2),
        (scaled(1.0), scaled(2.0)),
        (scaled(LONG), scaled(changed(LONG))),
        (partial(scaled, LONG), partial(scaled, changed(LONG))),
        (partial(scaled, factor=torch.as_tensor(LONG)), partial(scaled, factor=torch.as_tensor(changed(LONG)))),
        (Callable(LONG), Callable(changed(LONG))),
        (Callable(1).__call__, Callable(2).__call__),
        (methods.vgfm(eps=0.01).coupling, methods.vgfm(eps=0.02).coupling),
        (methods.vgfm().coupling, methods.otcfm().coupling),
        ({"a": 1}, {"a": 2}),
        ([LONG, LONG[:3]], [LONG[:3], LONG]),
        (LONG, LONG.astype(np.float32)),
        (np.ones((2, 3)), np.ones((3, 2))),
        ((1, 2), [1, 2]),
        (None, 0),
        (True, 1),
    ],
)
def test_what_differs_is_told_apart_and_the_same_is_not(one, other):
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one) and fingerprint(other) == fingerprint(other)


def test_numbers_of_the_module_that_a_function_names_count(monkeypatch):
    before = fingerprint(reads_a_global)
    monkeypatch.setitem(reads_a_global.__globals__, "LONG", changed(LONG))
    assert fingerprint(reads_a_global) != before


def reads_a_global(x):
    return x + LONG.sum()


def test_numbers_named_in_a_function_within_count(monkeypatch):
    before = fingerprint(reads_a_global_within)
    monkeypatch.setitem(reads_a_global_within.__globals__, "LONG", changed(LONG))
    assert fingerprint(reads_a_global_within) != before


def reads_a_global_within(x):
    return [LONG[k] for k in x], (lambda: LONG)


class Stateless:
    def __call__(self):
        return 1


class Other:
    def __call__(self):
        return 2


def test_objects_are_known_by_their_class_and_what_it_does_and_not_by_their_place():
    assert fingerprint(Stateless()) == fingerprint(Stateless())
    Other.__qualname__, Other.__module__ = Stateless.__qualname__, Stateless.__module__
    assert fingerprint(Other()) != fingerprint(Stateless())


def test_a_function_that_encloses_itself_ends():
    def again(n):
        return again(n - 1) if n else 0

    assert fingerprint(again) == fingerprint(again)


def test_the_same_code_made_twice_is_the_same():
    assert fingerprint(scaled(LONG)) == fingerprint(scaled(LONG.copy()))
    assert fingerprint(Callable(LONG)) == fingerprint(Callable(LONG.copy()))


def test_which_of_two_objects_comes_again_counts():
    one, other = scaled(1.0), scaled(2.0)
    assert fingerprint(one, other, one) != fingerprint(one, other, other)
