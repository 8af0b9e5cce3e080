"""Independent jobs, run where the user's joblib configuration says, or in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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


def in_threads(function: Callable, jobs: Iterable[tuple], n_jobs: int) -> Iterator[Any]:
    """As `each`; but unless the user's configuration runs several at once, ``n_jobs`` jobs share torch's threads.

    Torch's own threads wait for each other after every operation, and keep the processor busy meanwhile. Threads with
    jobs of their own do not. ``function`` should spend its time in compiled code that lets other threads run.
    ``n_jobs`` says how many jobs there are, done before or not: a job then has as many threads, and its result the same
    bits, however many are left.
    """
    before = torch.get_num_threads()
    n = min(before, n_jobs)
    if n == 1 or joblib.effective_n_jobs(None) > 1:
        yield from each(function, jobs)
        return
    executor = ThreadPoolExecutor(n, initializer=partial(torch.set_num_threads, before // n))
    begun = deque[Future]()
    try:
        for job in jobs:
            begun.append(executor.submit(function, *job))
            if len(begun) > n:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # after an interrupt, do not wait for running jobs
        torch.set_num_threads(before)  # workers have set torch's number for new threads: restore it
