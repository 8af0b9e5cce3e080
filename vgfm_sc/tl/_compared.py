"""The methods that a call compares, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vgfm_sc.methods import Method
from vgfm_sc.tl import _arguments

BASELINES = ("linear", "nearest")
"""Names of the predictions that need no model."""


def named(given: Mapping[str, str | Method] | Sequence[str | Method], argument: str) -> dict[str, Method]:
    """Methods by name: that of a mapping, else their own."""
    if isinstance(given, str | Method) or not isinstance(given, Mapping | Sequence):
        msg = f"{argument} must be a list of methods or a mapping of names to methods, got {given!r}."
        raise TypeError(msg)
    if not given:
        msg = f"{argument} is empty. Give at least one method, such as {argument}=['vgfm', 'otcfm']."
        raise ValueError(msg)
    if isinstance(given, Mapping):
        wrong = [name for name in given if not isinstance(name, str) or not name]
        if wrong:
            msg = f"The names in {argument} must be non-empty strings, got {wrong[0]!r}."
            raise TypeError(msg)
        pairs = [(name, _arguments.check_method(method)) for name, method in given.items()]
    else:
        pairs = [(method.name, method) for method in map(_arguments.check_method, given)]
    found = [name for name, _ in pairs]
    for name in found:
        if found.count(name) > 1:
            msg = (
                f"{argument} holds {found.count(name)} methods named {name!r}, which the table cannot tell apart. Name "
                f"them with a mapping: {argument}={{'{name} a': ..., '{name} b': ...}}."
            )
            raise ValueError(msg)
        if name in BASELINES:
            msg = f"A method named {name!r} cannot be told from the baseline of that name. Choose another name."
            raise ValueError(msg)
    return dict(pairs)


def taking_prior(methods: Mapping[str, Method]) -> list[str]:
    """Names of the methods in which cells may differ in growth; at least one must."""
    takers = [name for name, method in methods.items() if method.name not in _arguments.ALIKE]
    if not takers:
        _arguments.check_takes_prior(next(iter(methods.values())))
    return takers


def taking_clones(methods: Mapping[str, Method]) -> list[str]:
    """Names of the methods whose coupling takes lineage barcodes; at least one must."""
    takers = [name for name, method in methods.items() if method.takes_clones]
    if not takers:
        _arguments.check_takes_clones(next(iter(methods.values())))
    return takers
