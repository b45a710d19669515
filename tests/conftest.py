"""Tests run on loaded machines: no example of a property is failed for being slow. The cache is their own.

Properties are tried on the same examples in every run; `pytest --hypothesis-profile=default` draws new ones, and
`soak`, or HYPOTHESIS_PROFILE=soak in the environment, thousands of new ones (`make soak`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

settings.register_profile("patient", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=6000, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder beside the shipped network and the examples, as in a clone."""
    monkeypatch.chdir(tmp_path)
    for name in ("models", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "out").mkdir()
    return tmp_path
