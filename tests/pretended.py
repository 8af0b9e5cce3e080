"""A GPU that is not there: tensors that say they are on cuda and refuse what real ones refuse.

The numbers lie in ordinary memory. What is pretended is the contract: a tensor of the device meets no tensor of the
processor (numbers and single values aside), becomes no numpy array, and is not drawn with a generator of the processor.
Each copy from or to the device is counted, and so is each value that the processor waits for.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda", 0)
T = torch.Tensor

COPIES = {T.cpu, T.cuda}
VALUES = {T.item, T.tolist, T.__bool__, T.__float__, T.__int__, T.__index__}
"""What a processor waits for."""

ACROSS = {T.copy_, T.__getitem__, T.__setitem__}
"""What takes tensors of both, and copies."""

REFUSED = {T.numpy, T.__array__, T.__dlpack__}


class Pretended(torch.Tensor):
    """A tensor on the device; it knows of none but its `PretendedDevice`."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return PretendedDevice.current().call(function, args, kwargs or {})

    def __reduce_ex__(self, protocol):
        msg = "A tensor on a device is pickled."
        raise TypeError(msg)


class PretendedDevice(TorchFunctionMode):
    """While entered, ``device="cuda"`` gives pretended tensors. ``crossings``: how often data went over, by what."""

    _entered: list[PretendedDevice] = []

    def __init__(self) -> None:
        super().__init__()
        self.crossings: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    @classmethod
    def current(cls) -> PretendedDevice:
        return cls._entered[-1]

    def __enter__(self):
        self._entered.append(self)
        return super().__enter__()

    def __exit__(self, *raised):
        super().__exit__(*raised)
        self._entered.remove(self)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return self.call(function, args, kwargs or {})

    def call(self, function, args, kwargs):
        with torch._C.DisableTorchFunction():
            return self._call(function, args, kwargs)

    def _call(self, function, args, kwargs):
        name = getattr(function, "__name__", str(function))
        tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, T)]
        here = [t for t in tensors if isinstance(t, Pretended)]
        if name == "_has_compatible_shallow_copy_type":
            return len(here) != 1
        if name == "__get__" and here:
            return self._attribute(function, args[0])
        if function in REFUSED and here:
            msg = f"{name}: can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first."
            raise TypeError(msg)
        if function is T.__deepcopy__ and here:
            return self._deepcopied(args[0], args[1])
        if function in COPIES or function is T.to:
            return self._moved(function, args, kwargs)
        if function in VALUES and here:
            self._count(name)
            return function(*args, **kwargs)
        wanted = kwargs.get("device")
        if wanted is not None and torch.device(wanted).type == "cuda":
            return self._made(function, name, args, kwargs, here)
        if not here:
            return function(*args, **kwargs)
        strangers = [t for t in tensors if not isinstance(t, Pretended) and t.ndim]
        if function in ACROSS and strangers:
            self._count(name)
            strangers = []
        if strangers:
            msg = f"{name}: Expected all tensors to be on the same device, but found cuda:0 and cpu."
            raise RuntimeError(msg)
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu":
            msg = f"{name}: Expected a 'cuda' device type for generator but found 'cpu'."
            raise RuntimeError(msg)
        return on_device(function(*args, **kwargs))

    def _attribute(self, function, tensor):
        """Of a tensor: the device that it pretends to be on, and all else as it is."""
        of = getattr(function, "__self__", None)
        name = getattr(of, "__name__", "")
        if name == "device":
            return CUDA
        if name == "is_cuda":
            return True
        if name == "is_cpu":
            return False
        return on_device(function(tensor))

    def _moved(self, function, args, kwargs):
        tensor, *others = args
        target = kwargs.get("device") or next((o for o in others if isinstance(o, str | torch.device)), None)
        like = next((o for o in others if isinstance(o, T)), kwargs.get("other"))
        if function is T.cpu:
            target = torch.device("cpu")
        elif function is T.cuda:
            target = CUDA
        is_here = isinstance(tensor, Pretended)
        if isinstance(like, T):
            goes_there = isinstance(like, Pretended)
        else:
            goes_there = is_here if target is None else torch.device(target).type == "cuda"
        if is_here != goes_there:
            self._count("to cuda" if goes_there else "to cpu")
        dtype = like.dtype if isinstance(like, T) else kwargs.get("dtype")
        dtype = next((o for o in others if isinstance(o, torch.dtype)), dtype)
        found = tensor if dtype is None or function is not T.to else T.to(tensor, dtype)
        if is_here == goes_there:
            return on_device(found) if goes_there else found
        found = found.clone() if found is tensor else found
        return found.as_subclass(Pretended) if goes_there else found.as_subclass(T)

    def _made(self, function, name, args, kwargs, here):
        if kwargs.get("generator") is not None:
            msg = f"{name}: Expected a 'cuda' device type for generator but found 'cpu'."
            raise RuntimeError(msg)
        data = args[0] if args else None
        if function in (torch.tensor, torch.as_tensor) and not isinstance(data, int | float) and not here:
            self._count("to cuda")
        if isinstance(data, np.ndarray) and function is torch.as_tensor:
            data = data.copy()  # a real device has memory of its own
            args = (data, *args[1:])
        named = {key: value for key, value in kwargs.items() if key != "device"}
        return function(*args, **named).as_subclass(Pretended)

    def _deepcopied(self, tensor, memo):
        if id(tensor) not in memo:
            found = tensor.detach().clone().as_subclass(Pretended).requires_grad_(tensor.requires_grad)
            if getattr(tensor, "_is_param", False):
                found._is_param = True
            memo[id(tensor)] = found
        return memo[id(tensor)]

    def _count(self, what: str) -> None:
        with self._lock:
            self.crossings[what] += 1


def on_device(tree):
    """Results on the device; what was changed in place is there already."""

    def put(t):
        if not isinstance(t, T) or isinstance(t, Pretended):
            return t
        return t.as_subclass(Pretended) if t.layout == torch.strided else T._make_subclass(Pretended, t)

    return tree_map(put, tree)


@contextmanager
def pretended_cuda(monkeypatch) -> Iterator[PretendedDevice]:
    """``with pretended_cuda(monkeypatch) as device: ...`` runs on a GPU that is not there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    if hasattr(torch, "accelerator"):  # a torch built for GPUs asks the driver whether a graph is being recorded
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else parameters keep their type, and place
    try:
        with PretendedDevice() as device:
            yield device
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
