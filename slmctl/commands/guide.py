"""`slmctl guide`: the manual, rendered on a terminal, as Markdown off it."""

import os
import sys
from typing import Annotated

import typer

HELP = """\b
slmctl guide
slmctl guide tour
slmctl guide troubleshooting > troubleshooting.md

Show a page of the manual, or list the topics. Pages are paged on a terminal and printed as Markdown elsewhere."""


def guide(
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="Page to show (default: list them).")] = None,
) -> None:
    """Shows a page, or the topics."""
    from slmctl.guide.pages import TOPICS, page

    if topic is None:
        width = max(map(len, TOPICS))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in TOPICS.items()))
        print("\nRead one with: slmctl guide TOPIC", file=sys.stderr)
        return
    keys = ""
    if topic == "playground":
        from slmctl.tui.keymap import key_tables

        keys = key_tables()
    text = page(topic, keys)
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    os.environ.setdefault("LESS", "-RFX")  # colors pass through, short pages need no key, the text stays on screen
    console = Console(width=min(100, Console().width))
    with console.pager(styles=not console.no_color):
        console.print(Markdown(text, hyperlinks=False))
