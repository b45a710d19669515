"""Programs that are run: what they say, how they are stopped, and what they may leave running."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from onnx_compress.compiler import processes
from onnx_compress.compiler.processes import CAPTURED, run, started

pytestmark = pytest.mark.skipif(not processes.POSIX, reason="programs of POSIX systems")


def test_a_program_is_run_as_subprocess_runs_it() -> None:
    done = run(["/bin/sh", "-c", "read line; echo $line; echo no >&2; exit 3"], input="yes\n", text=True, **CAPTURED)
    assert (done.returncode, done.stdout, done.stderr) == (3, "yes\n", "no\n")
    assert run("exit 4", shell=True).returncode == 4
    assert run(["/bin/sh", "-c", "kill -9 $$"]).returncode == -9
    with pytest.raises(FileNotFoundError):
        run(["/nowhere/at/all"])


def test_a_program_that_takes_too_long_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    beat = f"while true; do date >> '{tmp_path / 'beats'}'; sleep 0.05; done"
    with pytest.raises(subprocess.TimeoutExpired):
        run(["/bin/sh", "-c", f"({beat}) & wait"], limit=0.5)
    size = (tmp_path / "beats").stat().st_size
    time.sleep(0.3)
    assert size and (tmp_path / "beats").stat().st_size == size


def test_a_program_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    with started(["/bin/sh", "-c", "trap '' TERM; echo; while true; do sleep 0.05; done"], **CAPTURED) as process:
        process.stdout.readline()
    assert process.returncode == -9


def test_what_a_program_that_ended_has_left_running_stays(tmp_path: Path) -> None:
    done = tmp_path / "done"
    assert run(["/bin/sh", "-c", f"(sleep 0.5; touch '{done}') >/dev/null 2>&1 &"]).returncode == 0
    assert not done.exists()
    time.sleep(1.5)
    assert done.exists()


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    worker = f"""
import os, time
from pathlib import Path
from onnx_compress.compiler.processes import end_with_parent

end_with_parent(os.getppid())
while True:
    Path({str(tmp_path / "beat")!r}).write_text(str(time.monotonic()))
    time.sleep(0.05)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {worker!r}])"]
    )
    while not (tmp_path / "beat").exists():
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    time.sleep(processes.LOOK + 1)
    last = (tmp_path / "beat").read_text()
    time.sleep(0.3)
    assert (tmp_path / "beat").read_text() == last
