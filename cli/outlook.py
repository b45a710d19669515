"""What --dry-run prints."""

from __future__ import annotations

from rich.console import Console

from ..drivers.outlook import Outlook


def print_outlook(console: Console, found: Outlook) -> None:
    """A line per pass and node, then the times."""
    for entry in found.passes:
        console.print(f"{entry.spec}{f': {entry.budget}' if entry.budget else ''}", soft_wrap=True)
        for node, text in entry.nodes.items():
            console.print(f"  {node}: {text}", soft_wrap=True)
    if found.before is not None and found.after is not None:
        way = f"{found.before:.3g} ms -> {found.after:.3g} ms in the precision of the result"
        console.print(f"time of the network, estimated: {way}, less what passes save", soft_wrap=True)
    console.print(f"time of the run, estimated: {_span(found.seconds)}", soft_wrap=True)
    console.print("nothing was fitted, and nothing written")


def _span(seconds: tuple[float, float] | None) -> str:
    if seconds is None:
        return "not known, without samples or of a pass that nobody has timed"
    least, most = (f"{each:.2g} s" if each < 100 else f"{each / 60:.0f} min" for each in seconds)
    return f"{least} to {most} on one core"
