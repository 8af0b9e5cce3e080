import os

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


def test_an_error_keeps_its_type():
    def job(k):
        if k == 2:
            raise FloatingPointError(f"job {k}")

    for workers in ({}, {"backend": "threading", "n_jobs": 2}):
        with pytest.raises(FloatingPointError, match="job 2"):
            in_workers(workers, job)
