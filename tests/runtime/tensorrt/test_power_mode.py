"""Power modes: read, compared, never switched."""

from __future__ import annotations

from pathlib import Path

import pytest
import stand_ins
from onnx_compress import CompressError
from onnx_compress.runtime.tensorrt import power_mode

CONFIGURATION = """
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_1 1
< POWER_MODEL ID=2 NAME=MODE_15W >
< POWER_MODEL ID=3 NAME=MODE_30W_ALL >
< POWER_MODEL ID=4 NAME=MODE_30W_6CORE >
< PM_CONFIG DEFAULT=2 >
"""


@pytest.mark.parametrize(("said", "mode"), [("MAXN", "MAXN"), ("MODE_30W_ALL", "30W_ALL"), ("25W", "25W")])
def test_the_current_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, mode: str):
    stand_ins.jetson(tmp_path, "", "", said)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    assert power_mode.current_mode() == mode


def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert power_mode.current_mode() is None


@pytest.mark.parametrize("asked", ["30W", "30W_ALL", "MODE_30W_ALL"])
def test_a_mode_is_known_by_its_power(asked: str):
    power_mode.check_mode(asked, "30W_ALL")


@pytest.mark.parametrize(
    ("asked", "current", "words"),
    [
        ("15W", "MAXN", ["the device is in mode MAXN", "sudo nvpmodel -m 2"]),
        ("30W", "15W", ["sudo nvpmodel -m 3"]),
        ("3", "30W_ALL", ["sudo nvpmodel -m ID"]),
        ("15W", None, ["does not say"]),
    ],
)
def test_another_mode_is_refused_with_the_command_that_switches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, current: str | None, words: list[str]
):
    monkeypatch.setattr(power_mode, "CONFIGURATION", tmp_path / "nvpmodel.conf")
    (tmp_path / "nvpmodel.conf").write_text(CONFIGURATION)
    with pytest.raises(CompressError) as error:
        power_mode.check_mode(asked, current)
    assert all(word in str(error.value) for word in words)


def test_without_its_configuration_the_number_is_left_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(power_mode, "CONFIGURATION", tmp_path / "none")
    with pytest.raises(CompressError, match="nvpmodel -m ID"):
        power_mode.check_mode("15W", "MAXN")
