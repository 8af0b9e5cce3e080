"""Independent jobs, run where the user's joblib configuration says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib


def one_by_one(n: int) -> bool:
    """Whether ``n`` jobs run one after another in this process, as they do unless the user says otherwise."""
    return at_once(n) == 1


def at_once(n: int) -> int:
    """How many of ``n`` jobs run at a time."""
    return min(n, joblib.effective_n_jobs(None))


def each(function: Callable, jobs: Sequence[tuple]) -> Iterator[Any]:
    """``function(*job)`` of each job, in their order, as they are done.

    What a job has to say is part of its result: warnings given in another process are not heard in this one. Large
    arrays are best arguments of their own: those that jobs share are then sent once. They may arrive as copies that
    cannot be written to. A single job stays here, and leaves the workers to the jobs within it.
    """
    if len(jobs) == 1:
        yield function(*jobs[0])
        return
    yield from joblib.Parallel(return_as="generator")(joblib.delayed(function)(*job) for job in jobs)
