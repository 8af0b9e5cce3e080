import os
import threading
import warnings

import joblib
import pytest

from vgfm_sc.core import jobs


def in_workers(workers, function, n=4):
    with joblib.parallel_config(**workers):
        return list(jobs.each(function, [(k,) for k in range(n)]))


def test_results_come_in_the_order_of_the_jobs(workers):
    assert in_workers(workers, lambda k: 10 * k) == [0, 10, 20, 30]


def test_jobs_run_here_unless_the_user_says_otherwise(workers):
    assert set(jobs.each(lambda k: os.getpid(), [(0,), (1,)])) == {os.getpid()}
    here = set(in_workers(workers, lambda k: os.getpid())) == {os.getpid()}
    assert here == (workers["backend"] == "threading")


def test_a_single_job_stays_here_and_jobs_within_it_are_spread(workers):
    def inner(k):
        return os.getpid()

    def outer(k):
        return os.getpid(), set(jobs.each(inner, [(0,), (1,)]))

    [(alone, spread)] = in_workers(workers, outer, n=1)
    assert alone == os.getpid()
    assert (spread == {alone}) == (workers["backend"] == "threading")


def test_jobs_within_jobs(workers):
    assert in_workers(workers, lambda k: list(jobs.each(pow, [(k, 1), (k, 2)])), n=3) == [[0, 0], [1, 1], [2, 4]]


def test_one_by_one(workers):
    assert jobs.one_by_one(3)
    with joblib.parallel_config(**workers):
        assert jobs.one_by_one(1) and not jobs.one_by_one(3)


def warning_job():
    def job(k):
        warnings.warn(f"job {k}", RuntimeWarning, stacklevel=1)
        return k

    return job


def test_warnings_reach_the_caller(workers):
    with pytest.warns(RuntimeWarning) as caught:
        assert in_workers(workers, warning_job()) == [0, 1, 2, 3]
    assert sorted(str(w.message) for w in caught) == ["job 0", "job 1", "job 2", "job 3"]
    assert {w.filename for w in caught} == {__file__}


def test_warnings_of_jobs_within_jobs_reach_the_caller(workers):
    inner = warning_job()

    def outer(k):
        return list(jobs.each(inner, [(10 * k,), (10 * k + 1,)]))

    with pytest.warns(RuntimeWarning) as caught:
        in_workers(workers, outer)
    assert len(caught) == 8


def test_warnings_are_errors_where_the_caller_says_so(workers):
    with pytest.raises(RuntimeWarning, match="job"):
        in_workers(workers, warning_job())


def test_threads_that_record_at_once_lose_nothing_and_leave_warnings_as_they_were():
    recorder, before = jobs.Recorder(), (warnings.filters, list(warnings.filters), warnings.showwarning)
    started, first_done, heard = threading.Barrier(2, timeout=10), threading.Event(), {}

    def first():
        with recorder.recording() as heard["first"]:
            started.wait()
            warnings.warn("first", UserWarning, stacklevel=1)
        first_done.set()

    def second():
        with recorder.recording() as heard["second"]:
            started.wait()
            first_done.wait(10)
            warnings.warn("second", UserWarning, stacklevel=1)

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: [message for message, *_ in found] for name, found in heard.items()} == {
        "first": ["first"],
        "second": ["second"],
    }
    assert before == (warnings.filters, list(warnings.filters), warnings.showwarning)


def test_a_job_that_fails_leaves_warnings_as_they_were():
    recorder, before = jobs.Recorder(), (warnings.filters, warnings.showwarning)
    with pytest.raises(ValueError, match="failed"), recorder.recording():
        raise ValueError("failed")
    assert before == (warnings.filters, warnings.showwarning)


def test_an_error_keeps_its_type():
    def job(k):
        if k == 2:
            raise FloatingPointError(f"job {k}")

    for workers in ({}, {"backend": "threading", "n_jobs": 2}):
        with pytest.raises(FloatingPointError, match="job 2"):
            in_workers(workers, job)
