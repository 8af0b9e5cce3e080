"""Work shared by threads of this process.

Torch's own threads wait for each other after every operation, busily. For operations as small as those of training that
gains little, and beside another process it costs much (see `device.threads_for`). Here each thread computes alone, gets
many operations at once, and sleeps when it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

Share = Callable[..., Iterable]
"""As the builtin `map`, but the calls may be made in several threads."""


@contextmanager
def shared_by(n: int, device: torch.device) -> Iterator[Share]:
    """A `Share` of ``n`` threads: the builtin `map` where it is one, or where the ``device`` has a queue of its own."""
    if n == 1 or device.type != "cpu":
        yield map
        return
    with ThreadPoolExecutor(n, initializer=partial(torch.set_num_threads, 1)) as executor:
        yield executor.map


def beside(function: Callable, *args: Any) -> Callable[[], Any]:
    """What ``function(*args)`` returns, once it is called: begun at once in a thread where torch has more than one.

    For compiled code that takes long, knows of one processor and lets other threads run.
    """
    if torch.get_num_threads() == 1:
        return partial(function, *args)
    executor = ThreadPoolExecutor(1)
    begun = executor.submit(function, *args)
    executor.shutdown(wait=False)
    return begun.result


def differentiable(
    function: Callable[[Any], Sequence[Tensor]], parts: Sequence, parameters: Iterable[Tensor], share: Share
) -> tuple[Tensor, ...]:
    """What ``function`` makes of each of ``parts``, joined: each of its tensors along its first axis.

    Differentiable in ``parameters``, the leaves that ``function`` depends on. The result does not depend on ``share``.
    """
    if len(parts) == 1:
        return tuple(function(parts[0]))
    found: tuple[Tensor, ...] = _Joined.apply(function, parts, share, *parameters)
    return found


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Callable[[Any], Sequence[Tensor]], parts: Sequence, share: Share, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            ctx.found = list(share(function, parts))
        ctx.parameters, ctx.share = parameters, share
        return tuple(torch.cat([tensor.detach() for tensor in of_one]) for of_one in zip(*ctx.found, strict=True))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        sizes = [[len(tensor) for tensor in of_one] for of_one in zip(*ctx.found, strict=True)]
        of_parts = zip(*(slope.split(of_one) for slope, of_one in zip(slopes, sizes, strict=True)), strict=True)

        def gradient(found: Sequence[Tensor], slope: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return torch.autograd.grad(found, ctx.parameters, slope, allow_unused=True)

        gradients = zip(*ctx.share(gradient, ctx.found, of_parts), strict=True)
        return None, None, None, *(None if of_one[0] is None else sum(of_one) for of_one in gradients)
