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


def in_threads(function: Callable, jobs: Iterable[tuple]) -> Iterator[Any]:
    """As `each`, but if the user has said nothing, each of torch's threads takes a job and computes it alone.

    A thread of torch waits for the others after every operation, busily. Threads with jobs of their own wait for
    nobody, and other processes are not in their way. ``function`` spends its time in compiled code that lets other
    threads run.
    """
    n = torch.get_num_threads()
    if (isinstance(jobs, Sequence) and len(jobs) < 2) or n == 1 or joblib.effective_n_jobs(None) > 1:
        yield from each(function, jobs)
        return
    executor, begun = ThreadPoolExecutor(n, initializer=partial(torch.set_num_threads, 1)), deque[Future]()
    try:
        for job in jobs:
            begun.append(executor.submit(function, *job))
            if len(begun) > n:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for those that have begun
        torch.set_num_threads(n)  # threads to come get as many as was said last, in whatever thread
