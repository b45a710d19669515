"""Tests run on loaded machines: no example of a property is failed for being slow."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
