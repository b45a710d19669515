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
    if found.seconds is not None:
        least, most = (f"{seconds:.2g} s" if seconds < 100 else f"{seconds / 60:.0f} min" for seconds in found.seconds)
        console.print(f"time of the run, estimated: {least} to {most} on one core", soft_wrap=True)
    console.print("nothing was fitted, and nothing written")
