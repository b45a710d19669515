"""Independent work, in this process or in others: the same bytes come out wherever it runs.

A job is a function of its arguments. It runs with one BLAS thread and one onnxruntime thread, in this process too, so
that the order of additions, and with it every rounding, does not depend on how many jobs run side by side (on
processors of one kind: BLAS chooses its kernels by the processor).

Calls are drawn from their iterator in this thread, a window at a time (one call per worker), while those of the last
window are being worked on. Results come in the order of the calls. Where a worker dies, the results that have come are
kept and the rest of its window is run again, the second time in this process.

    count=1                   in this process
    count=N                   N processes (joblib's loky), but no more than there are calls or cores
    cluster=dask://host:port  the workers of a Dask scheduler          } onnx-compress is installed there, too
    cluster=ray://host:port   the workers of a Ray cluster             }
"""

from __future__ import annotations

import importlib
import os
import pickle
import re
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, TypeVar

from .errors import CompressError, UsageError
from .processes import end_with_parent

K = TypeVar("K")
R = TypeVar("R")
Call = tuple[K, tuple[Any, ...]]
THREADS = 1
BLAS = "blas"
WIDE = 1024
ATTEMPTS = 2
PATIENCE = 10  # seconds for a cluster to answer
UNUSED = r"\d+ tasks (which were still being processed|have been successfully executed)"
"""What joblib says where results are not wanted any more."""
CLUSTER = re.compile(r"(dask|ray)://[^\s/]+:\d{1,5}")
_inside: ContextVar[bool] = ContextVar("inside a job", default=False)
_threads: ContextVar[int | None] = ContextVar("threads of linear algebra outside of `small_matrices`", default=None)


def inner_threads() -> int | None:
    """How many threads a library may use here: `THREADS` inside a job, None (all) elsewhere."""
    return THREADS if _inside.get() else None


def cores() -> int:
    """How many this process may use: containers and affinities are heeded."""
    return _joblib().cpu_count()


def useful(asked: int | None = None, tasks: int | None = None) -> int:
    """How many workers are of use where `asked` are wanted (None, -1: all) for so many tasks: no more than cores."""
    wanted = cores() if asked is None or asked == -1 else min(asked, cores())
    return max(1, wanted if tasks is None else min(wanted, tasks))


def single_threaded() -> AbstractContextManager[Any]:
    """Linear algebra with `THREADS` threads per call, as in a job.

    Its own threads wait in a loop for the next piece of work, which costs processor time, and much of it where the
    processor is shared.
    """
    return _libraries().limit(limits=THREADS)


@contextmanager
def small_matrices() -> Generator[None]:
    """Linear algebra with `THREADS` threads per call, but where `matrices_of` says that they are large.

    Milliseconds for a Gram matrix, a Cholesky factorization and eigenvalues, with one thread and with two, on two
    hyper-threads of one core; threads that wait for the next call take as much again from onnxruntime, so that all of
    `basis:macs=0.5` on ResNet-56 takes 16 s with one and 30 s with two:

        rows and columns    144          288          576        1152         2304
                            1.8 / 7.6    9.7 / 22     53 / 87    349 / 298    879 / 550
    """
    known = _libraries()
    token = _threads.set(max((each.num_threads for each in known.lib_controllers if each.user_api == BLAS), default=1))
    try:
        with known.limit(limits=THREADS, user_api=BLAS):
            yield
    finally:
        _threads.reset(token)


def matrices_of(size: int) -> AbstractContextManager[Any]:
    """Within `small_matrices`, linear algebra of matrices with so many rows and columns: wide ones get all threads."""
    if size < WIDE or _inside.get():
        return nullcontext()
    return _libraries().limit(limits=_threads.get(), user_api=BLAS)


def side_by_side(function: Callable[..., R], calls: Iterable[tuple[Any, ...]], most: int) -> Iterator[R]:
    """`function(*arguments)` for every `arguments`, in order, at most `most` at once in threads of this process.

    For work in linear algebra, each call of which is `single_threaded`.
    """

    def call(arguments: tuple[Any, ...]) -> R:
        return function(*arguments)

    workers = ThreadPoolExecutor(useful(inner_threads() or most))
    try:
        with single_threaded():
            yield from workers.map(call, calls)
    finally:
        workers.shutdown(cancel_futures=True)


def check_threads(count: int, where: str) -> None:
    """`UsageError` where times would be measured with more threads than there are cores, or without one."""
    if not 1 <= count <= cores():
        raise UsageError(f"{count} threads on {cores()} cores", where, f"1 to {cores()}")


@dataclass(frozen=True)
class Jobs:
    """Where independent work runs.

    Attributes:
        count: processes, at most; -1 as many as there are cores.
        cluster: an address as in the module docstring, or None for this machine.
    """

    count: int = 1
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.count == 0 or self.count < -1:
            raise UsageError(f"{self.count}: expected a positive number, or -1 for all cores", "--jobs", "--jobs 2")
        if self.cluster is not None and not CLUSTER.fullmatch(self.cluster):
            raise UsageError("expected dask://host:port or ray://host:port", f"--cluster {self.cluster}")

    def run(self, function: Callable[..., R], calls: Iterable[Call[K]]) -> Iterator[tuple[K, R]]:
        """`function(*arguments)` for every (key, arguments), as (key, result), in order.

        Raises:
            CompressError: the cluster's package is missing, or it cannot be reached.
        """
        jobs, calls = self._bounded(iter(calls))
        if jobs.count == 1 and jobs.cluster is None:
            libraries = _libraries()
            yield from ((key, _pinned(function, *arguments, libraries=libraries)) for key, arguments in calls)
            return
        with _backend(jobs) as workers:
            yield from _overlapped(workers, function, calls)

    def _bounded(self, calls: Iterator[Call[K]]) -> tuple[Jobs, Iterator[Call[K]]]:
        """As many processes as are of use for these calls, of which a window may have been drawn to see."""
        if self.count == 1 or self.cluster is not None:
            return self, calls
        first = list(islice(calls, useful(self.count)))
        return replace(self, count=useful(self.count, len(first))), chain(first, calls)


@dataclass(frozen=True)
class _Workers:
    """The options of joblib, and how many calls are under way at once.

    Without `overlap` a window is over before the next begins: two generators of joblib's Dask backend at once hang now
    and then (joblib 1.6, distributed 2026.8).
    """

    options: dict[str, Any]
    window: int
    overlap: bool = True

    def start(self, function: Callable[..., R], calls: list[Call[K]]) -> Iterator[R]:
        """Sets them going; the results, as they are asked for."""
        joblib = _joblib()
        form = "generator" if self.overlap else "list"
        parallel = joblib.Parallel(**self.options, return_as=form, batch_size=1, pre_dispatch="all")
        return iter(parallel([joblib.delayed(_pinned)(function, *arguments) for _, arguments in calls]))


def _overlapped(workers: _Workers, function: Callable[..., R], calls: Iterator[Call[K]]) -> Iterator[tuple[K, R]]:
    """One window is at work while the calls of the next are drawn, and the next while its results are used."""
    running: list[Call[K]] = []
    results: Iterator[R] = iter(())
    for first in chain(calls, [None]):
        window = [] if first is None else [first, *islice(calls, workers.window - 1)]
        started = _started(workers, function, window)
        yield from _collected(workers, function, running, results)
        running, results = window, started


def _started(workers: _Workers, function: Callable[..., R], window: list[Call[K]]) -> Iterator[R]:
    try:
        return workers.start(function, window) if window else iter(())
    except _deaths():
        return iter(())


def _collected(
    workers: _Workers, function: Callable[..., R], window: list[Call[K]], results: Iterator[R]
) -> Iterator[tuple[K, R]]:
    """The results of a window, those that a worker took with it computed again."""
    done = 0
    for attempt in range(ATTEMPTS):
        try:
            for result in results if attempt == 0 else _started(workers, function, window[done:]):
                yield window[done][0], result
                done += 1
        except _deaths():
            continue
        if done == len(window):
            return
    yield from ((key, _pinned(function, *arguments)) for key, arguments in window[done:])


def _deaths() -> tuple[type[BaseException], ...]:
    """What a dead worker, or a call that cannot be sent to one, looks like."""
    found: list[type[BaseException]] = [BrokenExecutor, pickle.PicklingError]
    with suppress(ImportError):
        found.append(importlib.import_module("distributed.scheduler").KilledWorker)
    return tuple(found)


def _pinned(function: Callable[..., R], *arguments: Any, libraries: Any = None) -> R:
    """A job with its limits; `libraries`, where they have been looked for already, are those with threads."""
    token = _inside.set(True)
    try:
        with (libraries or _libraries()).limit(limits=THREADS):
            return function(*arguments)
    finally:
        _inside.reset(token)


def _libraries() -> Any:
    """The libraries in this process that have threads of their own, those that a job's module imports included."""
    return importlib.import_module("threadpoolctl").ThreadpoolController()


def _backend(jobs: Jobs) -> AbstractContextManager[_Workers]:
    kind = (jobs.cluster or "local").partition("://")[0]
    return {"local": _local, "dask": _dask, "ray": _ray}[kind](jobs)


@contextmanager
def _local(jobs: Jobs) -> Generator[_Workers, None, None]:
    warnings.filterwarnings("ignore", UNUSED, UserWarning, r"joblib\.")
    started = {"initializer": end_with_parent, "initargs": (os.getpid(),)}
    try:
        yield _Workers({"n_jobs": jobs.count, "backend": "loky", **started}, jobs.count)
    except Exception:
        raise
    except BaseException:  # nobody wants the results any more
        importlib.import_module("joblib.externals.loky").get_reusable_executor(reuse=True).shutdown(kill_workers=True)
        raise


@contextmanager
def _dask(jobs: Jobs) -> Generator[_Workers, None, None]:
    distributed = _package("distributed", "dask")
    address = str(jobs.cluster).partition("://")[2]
    try:
        client = distributed.Client(address, set_as_default=False, timeout=PATIENCE)
    except Exception as error:
        raise _unreachable(jobs, error) from error
    with client, _joblib().parallel_config(backend="dask", client=client):
        yield _Workers({"n_jobs": -1}, max(1, sum(client.nthreads().values())), overlap=False)


@contextmanager
def _ray(jobs: Jobs) -> Generator[_Workers, None, None]:
    ray, connector = _package("ray", "ray"), _package("ray.util.joblib", "ray")
    try:
        ray.init(address=jobs.cluster, ignore_reinit_error=True)
    except Exception as error:
        raise _unreachable(jobs, error) from error
    connector.register_ray()
    try:
        with _joblib().parallel_config(backend="ray"):
            yield _Workers({"n_jobs": -1}, max(1, int(ray.cluster_resources().get("CPU", 1))), overlap=False)
    finally:
        ray.shutdown()


def _joblib() -> Any:
    return importlib.import_module("joblib")


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CompressError(
            f"{name.partition('.')[0]} is not installed",
            f"--cluster {extra}://",
            f"pip install 'onnx-compress[{extra}]'",
        ) from error


def _unreachable(jobs: Jobs, error: Exception) -> CompressError:
    line = (str(error) or repr(error)).strip().splitlines()[0]
    return CompressError(
        f"cannot be reached: {line}", f"--cluster {jobs.cluster}", "start the scheduler, or use --jobs"
    )
