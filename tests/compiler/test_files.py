from __future__ import annotations

import errno
from pathlib import Path

import pytest
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.files import check_output, staged, writing


def test_a_staged_file_appears_whole_or_not_at_all(tmp_path: Path):
    with staged(tmp_path / "a") as part:
        part.write_text("whole")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_text() == "whole"
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "b") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_cannot_be_written_is_said(tmp_path: Path):
    words = r"out: cannot be written: No space left .*free some space"
    with pytest.raises(CompressError, match=words), writing(Path("out")):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_checking_leaves_nothing(tmp_path: Path):
    check_output(tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null", "/dev/new.onnx"])
def test_a_device_is_no_output_whatever_it_is_now(path: str):
    with pytest.raises(UsageError, match="is a device or a pipe"):
        check_output(Path(path), overwrite=True)
