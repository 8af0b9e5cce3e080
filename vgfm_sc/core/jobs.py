"""Independent jobs, run where the user's joblib configuration says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import joblib
import torch


def one_by_one(n: int) -> bool:
    """Whether ``n`` jobs run one after another in this process, as they do unless the user says otherwise."""
    return at_once(n) == 1


def at_once(n: int) -> int:
    """How many of ``n`` jobs run at a time."""
    return min(n, joblib.effective_n_jobs(None))


def each(function: Callable, jobs: Iterable[tuple]) -> Iterator[Any]:
    """``function(*job)`` of each job, in their order, as they are done.

    What a job has to say is part of its result: warnings given in another process are not heard in this one. Large
    arrays are best arguments of their own: those that jobs share are then sent once. They may arrive as copies that
    cannot be written to. A single job of a sequence stays here, and leaves the workers to the jobs within it. Jobs that
    are an iterator are made as they are needed, a few more than there are workers.
    """
    if isinstance(jobs, Sequence) and len(jobs) == 1:
        yield function(*jobs[0])
        return
    yield from joblib.Parallel(return_as="generator")(joblib.delayed(function)(*job) for job in jobs)


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
