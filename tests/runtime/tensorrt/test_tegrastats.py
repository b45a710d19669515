"""Lines of tegrastats in the formats that devices print them in."""

from __future__ import annotations

from datetime import datetime

import pytest
from onnx_compress.runtime.tensorrt.tegrastats import mean_mw, module_mw, read_sample, read_samples

XAVIER_4 = """\
RAM 2178/31920MB (lfb 6980x4MB) SWAP 0/15960MB (cached 0MB) CPU [7%@1190,4%@1190,2%@1190,1%@1190,off,off,off,off] \
EMC_FREQ 0%@665 GR3D_FREQ 0%@318 APE 150 MTS fg 0% bg 0% AO@37.5C GPU@37.5C Tdiode@40C PMIC@100C AUX@36C CPU@37.5C \
thermal@36.9C Tboard@37C GPU 0/0 CPU 311/311 SOC 932/932 CV 0/0 VDDRQ 155/155 SYS5V 1440/1440
RAM 2911/31920MB (lfb 6512x4MB) SWAP 0/15960MB (cached 0MB) CPU [31%@2265,4%@2265,2%@2265,1%@2265,off,off,off,off] \
EMC_FREQ 41%@2133 GR3D_FREQ 99%@1377 APE 150 MTS fg 0% bg 0% AO@39C GPU@42.5C Tdiode@42C PMIC@100C AUX@38C CPU@40C \
thermal@39.9C Tboard@38C GPU 12604/6302 CPU 1088/700 SOC 3419/2175 CV 0/0 VDDRQ 2176/1165 SYS5V 2408/1924
"""
XAVIER_5 = """\
11-30-2026 07:20:01 RAM 3012/31002MB (lfb 6206x4MB) SWAP 0/15501MB (cached 0MB) CPU [3%@2265,1%@2265,0%@2265,0%@2265,\
0%@2265,0%@2265,0%@2265,0%@2265] EMC_FREQ 38%@2133 GR3D_FREQ 98%@1377 VIC_FREQ 115 APE 150 AUX@38C CPU@40.5C \
thermal@39.2C Tboard@38C AO@38.5C GPU@42C Tdiode@42.25C PMIC@50C GPU 11873mW/9020mW CPU 1241mW/1100mW \
SOC 3416mW/3000mW CV 0mW/0mW VDDRQ 2173mW/1900mW SYS5V 2487mW/2400mW
"""
ORIN = """\
11-30-2026 07:20:01 RAM 1206/30623MB (lfb 6429x4MB) SWAP 0/15311MB (cached 0MB) CPU [1%@729,0%@729,off,off] \
EMC_FREQ 0%@204 GR3D_FREQ 0%@[114,114] NVJPG1 729 VIC_FREQ 729 APE 233 CV0@-256C CPU@43.5C SOC2@40.062C \
GPU@38.156C tj@43.5C VDD_GPU_SOC 2401mW/2300mW VDD_CPU_CV 400mW/420mW VIN_SYS_5V0 3632mW/3600mW NC 0mW/0mW \
VDDQ_VDD2_1V8AO 707mW/707mW NC 0mW/0mW
"""
ORIN_7 = "11-30-2026 07:20:01 VDD_GPU_SOC 2792mW/2800mW/3000mW VDD_CPU_CV 0mW/0mW/0mW VIN_SYS_5V0 3918mW/3952mW/4019mW"
ORIN_NX = "11-30-2026 07:20:01 RAM 1/2MB tj@45C VDD_IN 5123mW/5000mW VDD_CPU_GPU_CV 924mW/900mW VDD_SOC 1400mW/1400mW"
NANO = "RAM 1/2MB thermal@30C POM_5V_IN 4286/4286 POM_5V_GPU 40/40 POM_5V_CPU 570/570"


def test_jetpack_4_has_neither_units_nor_times():
    idle, running = read_samples(XAVIER_4)
    assert idle.time is None and running.rails["GPU"] == 12604
    assert idle.rails == {"GPU": 0, "CPU": 311, "SOC": 932, "CV": 0, "VDDRQ": 155, "SYS5V": 1440}


def test_jetpack_5_has_both():
    (sample,) = read_samples(XAVIER_5)
    assert sample.time == datetime(2026, 11, 30, 7, 20, 1)
    assert sample.rails == {"GPU": 11873, "CPU": 1241, "SOC": 3416, "CV": 0, "VDDRQ": 2173, "SYS5V": 2487}


@pytest.mark.parametrize(
    ("line", "total"),
    [
        (XAVIER_5, 11873 + 1241 + 3416 + 0 + 2173 + 2487),
        (ORIN, 2401 + 400 + 3632),
        (ORIN_7, 2792 + 0 + 3918),
        (ORIN_NX, 5123),
        (NANO, 4286),
    ],
)
def test_the_module_is_what_enters_it(line: str, total: int):
    sample = read_sample(line)
    assert sample is not None and module_mw(sample.rails) == total and "NC" not in sample.rails


def test_rails_of_no_known_device_have_no_total():
    assert module_mw({"VDD_GPU_SOC": 1.0, "VDD_CPU_CV": 1.0}) is None and module_mw({}) is None


def test_what_is_no_line_or_was_cut_short_has_no_rails():
    assert read_samples("\n\nsh: no such thing\nRAM 2178/31920MB (lfb 6980x4MB) SWAP 0/15960MB\n") == []


def test_means_are_of_the_current_readings():
    means = mean_mw(read_samples(XAVIER_4))
    assert means["GPU"] == 6302 and means["SYS5V"] == (1440 + 2408) / 2
    assert mean_mw([]) == {}
    assert set(mean_mw([*read_samples(XAVIER_4), *read_samples("GPU 1/1 SOC 2/2")])) == {"GPU", "SOC"}
