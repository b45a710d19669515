"""Jobs: in order, once each, the same wherever they run; a dead worker costs nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_compress.compiler import jobs as module
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.jobs import WIDE, Jobs, inner_threads, matrices_of, side_by_side, small_matrices
from threadpoolctl import threadpool_info, threadpool_limits

TWO = Jobs(2)


@pytest.mark.parametrize("jobs", [Jobs(), TWO])
def test_results_come_in_order_with_their_keys(jobs: Jobs) -> None:
    calls = [(f"key {number}", (number, 2)) for number in range(11)]
    assert list(jobs.run(pow, calls)) == [(f"key {number}", number**2) for number in range(11)]
    assert list(jobs.run(pow, [])) == []


@pytest.mark.parametrize("jobs", [Jobs(), TWO])
def test_a_job_has_one_thread(jobs: Jobs) -> None:
    def threads(_: int) -> tuple[int | None, set[int]]:
        np.eye(2) @ np.eye(2)
        return inner_threads(), {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    assert [found for _, found in jobs.run(threads, [(0, (0,)), (1, (1,))])] == [(1, {1})] * 2
    assert inner_threads() is None


def blas_threads() -> set[int]:
    np.eye(2) @ np.eye(2)
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_small_matrices_get_one_thread_and_wide_ones_all_that_there_were() -> None:
    with threadpool_limits(2, "blas"):
        with matrices_of(WIDE):
            assert blas_threads() == {2}, "nothing is limited"
        with small_matrices():
            assert blas_threads() == {1}
            with matrices_of(WIDE - 1):
                assert blas_threads() == {1}
            with matrices_of(WIDE):
                assert blas_threads() == {2}
                assert list(side_by_side(lambda: blas_threads(), [()], 2)) == [{1}]
            assert blas_threads() == {1}
            assert dict(Jobs().run(_in_a_job, [(0, ())])) == {0: {1}}
        assert blas_threads() == {2}


def _in_a_job() -> set[int]:
    with matrices_of(WIDE):
        return blas_threads()


def test_the_same_bytes_for_any_number_of_workers() -> None:
    def inverse(seed: int) -> np.ndarray:
        x = np.random.default_rng(seed).standard_normal((150, 150))
        return np.linalg.inv(x @ x.T)

    calls = [(seed, (seed,)) for seed in range(4)]
    one, two = ([found.tobytes() for _, found in jobs.run(inverse, calls)] for jobs in (Jobs(), TWO))
    assert one == two


def test_calls_are_drawn_in_this_thread_and_only_as_far_as_needed() -> None:
    drawn: list[int] = []

    def calls() -> Iterator[tuple[int, tuple[int]]]:
        for number in range(100):
            drawn.append(number)
            yield number, (number,)

    results = TWO.run(abs, calls())
    assert next(results) == (0, 0)
    assert len(drawn) == 2 * TWO.count
    results.close()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("times", [1, 3])
def test_what_a_killed_worker_held_is_run_again(tmp_path: Path, times: int) -> None:
    """Killed once it is run again in a worker, always in this process."""
    parent = os.getpid()

    def fragile(number: int) -> int:
        deaths = len(list(tmp_path.iterdir()))
        if number == 3 and os.getpid() != parent and deaths < times:
            (tmp_path / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * 10

    found = list(TWO.run(fragile, [(number, (number,)) for number in range(6)]))
    assert found == [(number, number * 10) for number in range(6)]
    assert len(list(tmp_path.iterdir())) == min(times, module.ATTEMPTS)


def test_an_error_in_a_job_is_the_caller_s() -> None:
    def fail(number: int) -> None:
        raise CompressError("no", f"job {number}", "mend it")

    with pytest.raises(CompressError, match=r"job 0: no \(mend it\)") as caught:
        list(TWO.run(fail, [(0, (0,))]))
    assert caught.value.fix == "mend it"


@pytest.mark.parametrize("count", [0, -2])
def test_no_workers_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="--jobs"):
        Jobs(count)


@pytest.mark.parametrize("cluster", ["host:80", "spark://host"])
def test_an_unknown_cluster_is_refused(cluster: str) -> None:
    with pytest.raises(UsageError, match=r"expected dask://host:port or ray://host:port"):
        Jobs(cluster=cluster)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module.importlib, "import_module", missing)
    with pytest.raises(CompressError, match=r"ray is not installed \(pip install 'onnx-compress\[ray\]'\)"):
        list(Jobs(cluster="ray://host:1").run(abs, [(0, (0,))]))


def test_a_dask_cluster_gives_the_same() -> None:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options, protocol="tcp", host="127.0.0.1") as cluster:
        jobs = Jobs(cluster=cluster.scheduler_address.replace("tcp://", "dask://"))
        found = list(jobs.run(pow, [(number, (number, 2)) for number in range(9)]))
    assert found == [(number, number**2) for number in range(9)]


def test_an_absent_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with pytest.raises(CompressError, match=r"--cluster dask://127.0.0.1:1: cannot be reached"):
        list(Jobs(cluster="dask://127.0.0.1:1").run(abs, [(0, (0,))]))


@pytest.mark.parametrize(
    ("asked", "tasks", "workers"),
    [(None, None, 3), (-1, None, 3), (1000, None, 3), (2, None, 2), (1000, 2, 2), (-1, 1, 1), (5, 0, 1)],
)
def test_never_more_workers_than_cores_or_tasks(
    asked: int | None, tasks: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cores", lambda: 3)
    assert module.useful(asked, tasks) == workers


def test_a_thousand_jobs_do_not_start_a_thousand_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 3)
    found = [pid for _, pid in Jobs(1000).run(os.getpid, [(number, ()) for number in range(12)])]
    assert 1 <= len(set(found)) <= 3
    assert [pid for _, pid in Jobs(1000).run(os.getpid, [(0, ())])] == [os.getpid()], "one task needs no worker"


def test_times_are_not_measured_with_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 3)
    module.check_threads(3, "--threads")
    for count in (0, 4, 100_000):
        with pytest.raises(UsageError, match=f"--threads: {count} threads on 3 cores"):
            module.check_threads(count, "--threads")


def threads_of_libraries(wait: float, value: int) -> tuple[int, int]:
    time.sleep(wait)
    return value, max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")


def test_side_by_side_calls_have_one_thread_each_and_results_keep_their_order() -> None:
    before = threadpool_info()
    found = list(side_by_side(threads_of_libraries, [(0.05, 1), (0.0, 2), (0.0, 3)], 2))
    assert found == [(1, 1), (2, 1), (3, 1)]
    assert threadpool_info() == before


def test_an_error_side_by_side_ends_the_rest() -> None:
    done: list[int] = []

    def call(value: int) -> None:
        done.append(value)
        time.sleep(0.01)
        if value == 0:
            raise FloatingPointError("overflow")

    with pytest.raises(FloatingPointError, match="overflow"):
        list(side_by_side(call, ((value,) for value in range(100)), 2))
    assert len(done) < 50
