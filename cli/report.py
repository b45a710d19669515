"""`onnx-compress report RUN.json -o run.html`: the page of a run that was reported as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Overwrite, Quiet


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN.json", help="What --report wrote.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: RUN.html beside it.")] = None,
    frontier: Annotated[Path | None, typer.Option(help="Also draw this file of `onnx-compress frontier -o`.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write the page of a run from its JSON report.

    Measured times included. One file that needs no network; of this version's reports and those of the version before.
    """
    from ..compiler.files import Place, beside, check_places, staged, writing
    from ..compiler.report.loading import load_frontier, load_report
    from ..compiler.report.page import to_html
    from .console import results

    written = beside(run, ".html") if output is None else output
    read = [Place("RUN.json", run), *([] if frontier is None else [Place("what --frontier reads", frontier)])]
    check_places(read, [Place("-o", written)], overwrite)
    page = to_html(load_report(run), None if frontier is None else load_frontier(frontier))
    with writing(written), staged(written) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    if not quiet:
        results().print(f"wrote {written}: {written.stat().st_size} bytes", soft_wrap=True)
