"""What mkdocs calls: pages that are generated from the code, and generated parts of written pages.

A part stands in a page as `<!-- generated: NAME -->`, alone in its line; `PARTS` has its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from generator import PARTS, pages
from generator.passes import names, page_of
from mkdocs.structure.files import File, Files

MARK = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)
INDEX = "passes/index.md"


def on_config(config: Any) -> Any:
    """Below the index of the passes: a page for each."""
    below = [INDEX, *({name: page_of(name)} for name in names())]
    config.nav = [{title: below} if place == INDEX else {title: place} for title, place in _entries(config.nav)]
    return config


def on_files(files: Files, config: Any) -> Files:
    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    return MARK.sub(lambda mark: PARTS[mark[1]](), markdown)


def _entries(nav: list[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    return [pair for entry in nav for pair in entry.items()]
