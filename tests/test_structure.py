"""The shape of the package: imports go down, packages are listed, modules are documented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FLOORS = ["compiler", "runtime", "passes", "drivers", "api", "cli"]
SOURCES = sorted(
    path
    for path in [*ROOT.glob("*.py"), *(path for floor in FLOORS for path in ROOT.glob(f"{floor}/**/*.py"))]
    if "__pycache__" not in path.parts
)
SHELLS = ("drivers/checks.py", "runtime/quality/own_metric.py")
NUMERIC = {"numpy", "scipy", "__future__"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def floor(parts: tuple[str, ...]) -> int | None:
    """How high a module stands; None for the front door, which may import everything."""
    head = parts[0].removesuffix(".py") if parts else ""
    return FLOORS.index(head) if head in FLOORS else None


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """(text, place in the package or None for a foreign one) of every import, those inside functions too."""
    folder = path.relative_to(ROOT).parent.parts
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", None
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder[: len(folder) - node.level + 1]
            inner = tuple((node.module or "").split(".")) if node.module else ()
            for alias in node.names:
                yield f"{'.' * node.level}{node.module or ''}.{alias.name}", (*base, *inner) or (alias.name,)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_go_down(path: Path):
    here = floor(path.relative_to(ROOT).parts)
    if here is None:
        return
    for text, place in imports(path):
        assert text.split(".")[0] != "onnx_compress", f"{text}: imports within the package are relative"
        above = floor(place) if place is not None else None
        assert above is None or above <= here, f"{text} goes up a floor"


def place_of(parts: tuple[str, ...]) -> str | None:
    """The source file of a module of the package."""
    file = ROOT.joinpath(*parts)
    found = (file.with_suffix(".py") if parts else None, file / "__init__.py")
    return next((name(path) for path in found if path is not None and path in SOURCES), None)


@cache
def import_graph() -> dict[str, set[str]]:
    """By file, the files that it imports: inside functions and for types alone, too."""
    edges: dict[str, set[str]] = {}
    for path in SOURCES:
        targets = ((place, text) for text, place in imports(path) if place is not None)
        found = {place_of((*place, text.rpartition(".")[2])) or place_of(place) for place, text in targets}
        edges[name(path)] = {target for target in found if target is not None} - {name(path)}
    return edges


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Names that lead back to where they began; empty where there are none."""
    try:
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def test_no_imports_go_in_a_circle() -> None:
    assert circle(import_graph()) == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=name)
def test_no_folder_has_entries_that_import_in_a_circle(folder: Path) -> None:
    """An entry is a file or a folder with all that is below it."""
    depth = len(folder.relative_to(ROOT).parts)

    def entry(file: str) -> str | None:
        inside = (ROOT / file).is_relative_to(folder)
        return Path(file).parts[depth] if inside else None

    edges: dict[str, set[str]] = {}
    for file, targets in import_graph().items():
        here = entry(file)
        if here is not None:
            edges.setdefault(here, set()).update(each for each in map(entry, targets) if each not in (None, here))
    assert circle(edges) == []


@pytest.mark.parametrize("path", [path for path in SOURCES if "projection" in path.parts], ids=name)
def test_projections_are_numbers_only(path: Path):
    for text, place in imports(path):
        head = text.split(".")[0]
        inside = place is not None and place[:2] == ("passes", "projection")
        assert inside or head in NUMERIC or head in sys.stdlib_module_names, text


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(("onnx_compress", *path.parent.relative_to(ROOT).parts))
        for path in SOURCES
        if path.name == "__init__.py"
    }
    folders = {".".join(("onnx_compress", *path.parent.relative_to(ROOT).parts)) for path in SOURCES}
    assert set(listed) == found == folders


def test_what_the_makefile_installs_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(one for name in ("cpu", "docs", "nvrtc", "test", "trt-rtx") for one in extras[name]),
    ]
    pinned = set(re.findall(r"^([\w.-]+)==[\w.]+", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert {re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in asked} <= pinned


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_modules_are_documented_and_do_not_print(path: Path):
    tree = parsed(path)
    assert ast.get_docstring(tree), "a module says what it is for"
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
    assert path.stem not in ("utils", "helpers", "misc")


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nothing_is_fetched_unpickled_or_given_to_a_shell(path: Path):
    tree = parsed(path)
    modules = {text.partition(".")[0] for text, _ in imports(path)}
    assert not modules & {"ftplib", "http", "requests", "socket", "urllib"}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        target = ast.unparse(call.func)
        assert target not in ("pickle.load", "pickle.loads", "os.system", "eval", "exec")
        in_shell = any(word.arg == "shell" and ast.unparse(word.value) == "True" for word in call.keywords)
        assert not in_shell or name(path) in SHELLS, "only the user's own --check and --metric run in a shell"


def test_public_names_exist_and_importing_the_package_is_cheap():
    code = (
        "import sys, onnx_compress as o; assert 'numpy' not in sys.modules and 'onnx' not in sys.modules;"
        "[getattr(o, n) for n in o.__all__]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


FOLDERS = {path.parent.name for path in SOURCES if path.parent != ROOT}
ATTRIBUTES = {"graph.inputs"}


@pytest.mark.parametrize("path", [*SOURCES, *sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=name)
def test_modules_that_texts_name_are_there(path: Path) -> None:
    """`folder.module`, or `folder.module.symbol`."""
    for words in re.findall(r"`((?:[a-z_0-9]+\.)+[a-z_0-9]+)`", path.read_text()):
        parts = tuple(words.split("."))
        assert parts[0] not in FOLDERS or words in ATTRIBUTES or named(parts), f"`{words}` is not there"


@cache
def module_files() -> dict[tuple[str, ...], Path]:
    files = {path.relative_to(ROOT).with_suffix("").parts: path for path in SOURCES}
    return files | {parts[:-1]: path for parts, path in files.items() if parts[-1] == "__init__"}


def named(parts: tuple[str, ...]) -> bool:
    modules = module_files()
    if any(module[-len(parts) :] == parts for module in modules):
        return True
    holders = [path for module, path in modules.items() if module[1 - len(parts) :] == parts[:-1]]
    return any(re.search(rf"^(def|class) {parts[-1]}\b", path.read_text(), re.MULTILINE) for path in holders)
