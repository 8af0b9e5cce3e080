"""A name for all that a training depends on, so that no checkpoint is taken for that of another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch

DIGITS = 16
"""Of the hash in a file's name: 64 bits tell apart all trainings that will ever share a folder."""


PLAIN = (bool, int, float, complex, str, bytes, type, BuiltinFunctionType)
"""What ``repr`` tells apart."""


def fingerprint(*values: Any) -> str:
    """Differs when any of ``values`` does.

    Numbers and arrays count to the last digit. A function is known by its code and by all that it carries: defaults,
    what it encloses, what `functools.partial` binds, and the numbers and functions of its module that it names.
    """
    digest = hashlib.sha256()
    seen: dict[int, tuple[int, Any]] = {}  # kept alive, so that no other takes their place in memory

    def add(value: Any) -> None:
        digest.update(type(value).__qualname__.encode())
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        if isinstance(value, np.ndarray) and value.dtype != object:
            digest.update(f"{value.dtype}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        elif value is None or isinstance(value, PLAIN):
            digest.update(repr(value).encode())
        elif id(value) in seen:  # a function may enclose itself
            digest.update(f"again {seen[id(value)][0]}".encode())
        else:
            seen[id(value)] = len(seen), value
            for part in _parts(value):
                add(part)

    add(values)
    return digest.hexdigest()[:DIGITS]


def _parts(value: Any) -> list:
    """What tells ``value`` from others of its type."""
    if isinstance(value, Mapping):
        return sorted(value.items(), key=lambda item: repr(item[0]))
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return [len(value), *value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, value.co_consts]
    if isinstance(value, FunctionType):
        enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
        own = [value.__module__, value.__qualname__, value.__code__, value.__defaults__, value.__kwdefaults__]
        return [*own, enclosed, _named(value)]
    kind = type(value)
    state = dict(vars(value)) if hasattr(value, "__dict__") else {}
    state |= {name: getattr(value, name, None) for name in getattr(kind, "__slots__", ())}
    shown = None if kind.__repr__ is object.__repr__ else repr(value)  # that names a place in memory
    called = kind.__call__ if callable(value) else None
    return [kind.__module__, state, None if state else shown, called if isinstance(called, FunctionType) else None]


def _named(function: FunctionType) -> dict[str, Any]:
    """Data and functions of its own module that the function names."""
    found = {}
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        data = isinstance(value, bool | int | float | complex | str | bytes | list | tuple | dict | np.ndarray)
        if data or (isinstance(value, FunctionType) and value.__module__ == function.__module__):
            found[name] = value
    return found


def _names(code: CodeType) -> list[str]:
    """What the code names, and the functions within it."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return sorted({*code.co_names, *(name for names in inner for name in names)})
