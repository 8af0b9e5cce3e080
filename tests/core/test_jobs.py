import os
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import pytest
import torch

from vgfm_sc.core import jobs


@pytest.fixture(scope="module", params=["threading", "loky", "dask"])
def workers(request):
    """``with joblib.parallel_config(**workers): ...`` runs jobs in two threads, two processes or on a dask cluster."""
    if request.param == "threading":
        yield {"backend": "threading", "n_jobs": 2}
    elif request.param == "loky":
        yield {"backend": "loky", "n_jobs": 2, "inner_max_num_threads": 1, "max_nbytes": 100}
    else:
        distributed = pytest.importorskip("distributed")
        local = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
        with local, distributed.Client(local, set_as_default=False) as client:
            yield {"backend": "dask", "client": client}


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


def test_jobs_of_an_iterator_are_made_as_they_are_needed():
    made = []
    results = jobs.each(pow, ((made.append(k) or k, 2) for k in range(100)))
    assert next(results) == 0 and len(made) < 5
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert list(jobs.each(pow, ((k, 2) for k in range(5)))) == [0, 1, 4, 9, 16]
        assert list(jobs.each(pow, iter([(3, 2)]))) == [9]


def test_an_error_keeps_its_type():
    def job(k):
        if k == 2:
            raise FloatingPointError(f"job {k}")

    for workers in ({}, {"backend": "threading", "n_jobs": 2}):
        with pytest.raises(FloatingPointError, match="job 2"):
            in_workers(workers, job)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_each_of_torchs_threads_takes_a_job(two_threads):
    together = threading.Barrier(2)

    def job(k):
        together.wait(10)  # passes only with two at a time
        return k, torch.get_num_threads()

    assert list(jobs.in_threads(job, [(k,) for k in range(4)], 4)) == [(k, 1) for k in range(4)]
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 2


def test_a_job_alone_or_in_a_single_thread_stays_here(two_threads):
    def job(k):
        return threading.get_ident(), torch.get_num_threads()

    here = threading.get_ident()
    assert list(jobs.in_threads(job, [(0,)], 1)) == [(here, 2)]
    torch.set_num_threads(1)
    assert list(jobs.in_threads(job, [(0,), (1,)], 2)) == [(here, 1)] * 2


def test_jobs_in_threads_are_spread_as_the_user_says(two_threads, workers):
    with joblib.parallel_config(**workers):
        places = set(jobs.in_threads(lambda k: os.getpid(), [(k,) for k in range(4)], 4))
    assert (places == {os.getpid()}) == (workers["backend"] == "threading")


def test_an_error_in_a_thread_ends_the_others(two_threads):
    made = []
    results = jobs.in_threads(lambda k: 1 / k, ((made.append(k) or k,) for k in range(100)), 100)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(made) < 5


def test_a_job_has_as_many_threads_however_many_are_left(two_threads):
    """Sums are then rounded alike whether a fit is taken up or not."""
    assert list(jobs.in_threads(lambda k: torch.get_num_threads(), [(0,)], 2)) == [1]
    torch.set_num_threads(5)
    assert list(jobs.in_threads(lambda k: torch.get_num_threads(), [(0,), (1,)], 2)) == [2, 2]
