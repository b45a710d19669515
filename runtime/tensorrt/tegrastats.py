"""What `tegrastats` prints on a Jetson, read: the power of each rail, and of the module.

A line holds, among much else, a reading for each rail that has a power monitor (INA3221), in milliwatts: the current
one, the mean since tegrastats was started and, in the newest versions, the greatest. Only the current one counts here,
as a mean from the start on would mix in what ran before. JetPack 4 writes no units and no time:

    ... GPU 2624/1840 CPU 311/311 SOC 932/932 CV 0/0 VDDRQ 621/610 SYS5V 1482/1480                JetPack 4, AGX Xavier
    11-30-2026 07:20:01 RAM ... GPU 2624mW/1840mW CPU 311mW/311mW ...                             JetPack 5, AGX Xavier
    11-30-2026 07:20:01 RAM ... VDD_GPU_SOC 2401mW/2401mW VDD_CPU_CV 400mW/400mW VIN_SYS_5V0 ...  JetPack 5 and 6, Orin

The power of the module is what enters it (`module_mw`):

    VDD_IN, POM_5V_IN, VIN    the whole input, where there is such a rail (NX and Nano modules, TX2; Thor); the others
                              are parts of it
    AGX Xavier                GPU + CPU + SOC + CV + VDDRQ + SYS5V, the branches of its two inputs
    AGX Orin                  VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0. VDDQ_VDD2_1V8AO, the memory, is measured at 5 V,
                              behind VIN_SYS_5V0, and would count twice

The carrier board, its fan and what is plugged in are not part of it.

Sources: NVIDIA, Jetson AGX Xavier Series Product Design Guide DG-09840-001, 5.6.2 (the monitored supplies); energymon,
the README of its Jetson module (which rails add up); forums.developer.nvidia.com/t/200883 (VDD_IN is the total), 73608
(so is POM_5V_IN), 81016 (on the AGX Xavier it is the sum); rbonghi/jetson_stats, pull request 900 (VIN of Thor).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

WHOLE = ("VDD_IN", "POM_5V_IN", "VIN")
SUMS = (
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
)
NOT_CONNECTED = "NC"
_TIME = re.compile(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d(?= )")
_RAIL = re.compile(r"(?<!\S)([A-Z]\w*) (\d+)(?:mW)?/\d+(?:mW)?(?:/\d+(?:mW)?)?(?!\S)")


@dataclass(frozen=True)
class PowerSample:
    """A line of tegrastats.

    Attributes:
        rails: name -> milliwatts.
        time: of the device's clock, to the second; None before JetPack 5.
    """

    rails: Mapping[str, int]
    time: datetime | None = None


def read_samples(text: str) -> list[PowerSample]:
    """The lines that have rails, in order; others, such as a last one that was cut short before them, are left out."""
    found = (read_sample(line) for line in text.splitlines())
    return [sample for sample in found if sample is not None]


def read_sample(line: str) -> PowerSample | None:
    """A line, or None where it has no rails."""
    rails = {name: int(value) for name, value in _RAIL.findall(line.strip()) if name != NOT_CONNECTED}
    stamp = _TIME.match(line.strip())
    return PowerSample(rails, datetime.strptime(stamp[0], "%m-%d-%Y %H:%M:%S") if stamp else None) if rails else None


def module_mw(rails: Mapping[str, float]) -> float | None:
    """Milliwatts of the module, by the rule in the module docstring; None where the rails are of no known device."""
    whole = next((rails[name] for name in WHOLE if name in rails), None)
    if whole is not None:
        return whole
    return next((sum(rails[name] for name in names) for names in SUMS if set(names) <= set(rails)), None)


def mean_mw(samples: Sequence[PowerSample]) -> dict[str, float]:
    """Rail -> mean milliwatts, of the rails that every sample has."""
    shared = [name for name in (samples[0].rails if samples else ()) if all(name in each.rails for each in samples)]
    return {name: _mean(sample.rails[name] for sample in samples) for name in shared}


def _mean(values: Iterable[int]) -> float:
    found = list(values)
    return sum(found) / len(found)
