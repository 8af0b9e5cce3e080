"""Independent jobs, run where the user's joblib configuration says."""

from __future__ import annotations

import os
import platform
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import joblib


def one_by_one(n: int) -> bool:
    """Whether ``n`` jobs run one after another in this process, as they do unless the user says otherwise."""
    return n == 1 or joblib.effective_n_jobs(None) == 1


def each(function: Callable, jobs: Sequence[tuple]) -> Iterator[Any]:
    """``function(*job)`` of each job, in their order, as they are done; warnings of other processes come at the end.

    Large arrays are best arguments of their own: those that jobs share are then sent once. They may arrive as copies
    that cannot be written to. A single job stays here, and leaves the workers to the jobs within it.
    """
    if len(jobs) == 1:
        yield function(*jobs[0])
        return
    heard: list[tuple] = []
    run = joblib.delayed(_job)
    for result, warned in joblib.Parallel(return_as="generator")(run(function, _process(), *job) for job in jobs):
        heard += warned
        yield result
    for warning in heard:
        warnings.warn_explicit(*warning)


def _process() -> tuple[str, int]:
    return platform.node(), os.getpid()


def _job(function: Callable, caller: tuple[str, int], *arguments: Any) -> tuple[Any, list[tuple]]:
    """The result, and the warnings that the caller does not hear."""
    if _process() == caller:
        return function(*arguments), []
    with RECORDER.recording() as warned:
        result = function(*arguments)
    return result, warned


class Recorder:
    """Warnings in this process while it runs jobs of another, in as many threads as that may be.

    What is done with warnings is a setting of the process: it is changed when the first job starts and restored when
    the last one ends. Each job takes home what was heard until it ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_jobs = 0
        self._setting = ExitStack()
        self._caught: list[warnings.WarningMessage] = []

    @contextmanager
    def recording(self) -> Iterator[list[tuple]]:
        """A list of arguments of `warnings.warn_explicit`, filled at the end."""
        with self._lock:
            if not self._n_jobs:
                self._caught = self._setting.enter_context(warnings.catch_warnings(record=True))
                warnings.simplefilter("always")  # the caller decides what to show, drop or raise
            self._n_jobs += 1
        heard: list[tuple] = []
        try:
            yield heard
        finally:
            with self._lock:
                while self._caught:
                    w = self._caught.pop(0)
                    heard.append((str(w.message), w.category, w.filename, w.lineno))
                self._n_jobs -= 1
                if not self._n_jobs:
                    self._setting.close()


RECORDER = Recorder()
