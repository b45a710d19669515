"""However a run ends, no process of it goes on; where it is asked to end, its temporary files go, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import front
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
SOON = 30.0
ONNXRUNTIME = {".ses"}
"""What the library itself leaves in the folder for temporary files."""
JOBS = """
import sys, time
from pathlib import Path
from onnx_compress.cli import app
from onnx_compress.compiler import jobs

jobs.cores = lambda: 2

def work(number):
    Path(f"begun {number}").touch()
    time.sleep(600)

def command():
    list(jobs.Jobs(2).run(work, [(number, (number,)) for number in range(4)]))

app.app.command("work")(command)
sys.exit(app.main(["work"]))
"""


def _heeds_interrupts() -> None:
    """What a shell starts in the background ignores them, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Run:
    """A command that works in a folder, with another for its temporary files."""

    def __init__(self, folder: Path, *words: object):
        self._folder, self.temporary = folder, folder / "temporary"
        self.temporary.mkdir()
        places = {"TMPDIR": str(self.temporary), "JOBLIB_TEMP_FOLDER": str(self.temporary)}
        with (folder / "said").open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, words)],
                cwd=folder,
                env={**os.environ, **places},
                stdout=said,
                stderr=said,
                preexec_fn=_heeds_interrupts,
            )
        self.family: set[int] = set()

    def begun(self, count: int) -> None:
        """Waits until so many processes of it work."""
        wait_for(lambda: len(list(self._folder.glob("begun *"))) >= count)
        self.family = descendants(self.process.pid)

    def end(self, number: int) -> tuple[int, str]:
        """The exit code, and what was said."""
        self.process.send_signal(number)
        return self.process.wait(SOON), (self._folder / "said").read_text()

    def alive(self) -> set[int]:
        return {pid for pid in self.family if (found := stat(pid)) and found[0] != "Z"}


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def stat(pid: int | str) -> list[str]:
    """State, parent, ...; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def descendants(pid: int) -> set[int]:
    """The children of a process, and theirs."""
    names = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    parents = {int(name): int(found[1]) for name in names if (found := stat(name))}
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    """By name: two jobs in workers, or a bisection whose check takes long."""
    runs: list[Run] = []

    def begin(kind: str) -> Run:
        model = front.write_model(tmp_path / "net.onnx")
        check = "touch 'begun one'; sleep 600 & wait; true {}"
        bisect = ("-m", "onnx_compress", "bisect", model, "-p", "basis:rank=0.5", "--check", check)
        runs.append(Run(tmp_path, *{"jobs": ("-c", JOBS), "bisect": bisect}[kind]))
        runs[-1].begun({"jobs": 2, "bisect": 1}[kind])
        return runs[-1]

    yield begin
    for run in runs:
        for pid in run.alive():
            os.kill(pid, signal.SIGKILL)
        run.process.kill()
        run.process.wait()


@pytest.mark.parametrize("kind", ["jobs", "bisect"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_asked_to_end_leaves_nothing(start: Callable[[str], Run], kind: str, number: int) -> None:
    run = start(kind)
    assert len(run.family) >= 2
    code, said = run.end(number)
    assert code == 128 + number
    assert said.strip() == "error: interrupted"
    wait_for(lambda: not run.alive())
    assert {path.name for path in run.temporary.iterdir()} <= ONNXRUNTIME


@pytest.mark.parametrize("kind", ["jobs", "bisect"])
def test_processes_end_with_a_run_that_is_killed(start: Callable[[str], Run], kind: str) -> None:
    run = start(kind)
    assert run.end(signal.SIGKILL)[0] == -signal.SIGKILL
    wait_for(lambda: not run.alive())


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    """The handler of a signal that is ignored is left alone."""
    code = """
import os, signal
from onnx_compress.cli.signals import interrupting

signal.signal(signal.SIGHUP, signal.SIG_IGN)
with interrupting():
    os.kill(os.getpid(), signal.SIGHUP)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
