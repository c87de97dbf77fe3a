"""Draws the README's picture: the playground's Train mode on the runs named.

    python -m tests.picture RUNS_FOLDER RUN

The SVG looks the same whatever fonts a viewer has: braille dots and lines become shapes, and each word is placed by
itself in the columns that it had on the terminal.
"""

import asyncio
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from tests.support.paths import ROOT

PICTURE = ROOT / "tests" / "playground.svg"
SIZE = (132, 40)
SETTLED_S = 2.0
SVG = "http://www.w3.org/2000/svg"
CELL, LINE = 12.2, 24.4  # width and height of a cell in the exported SVG, in its units
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
BRAILLE = range(0x2800, 0x2900)
DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))  # column and row of each bit of a braille cell
LINES = {  # arms of a box-drawing character: left, right, up, down
    "─": "lr",
    "━": "lr",
    "│": "ud",
    "└": "ru",
    "┌": "rd",
    "┐": "ld",
    "┘": "lu",
    "┤": "lud",
    "├": "rud",
    "┬": "lrd",
    "┴": "lru",
    "┼": "lrud",
    "┊": "ud",
}


async def draw(home: Path, run: str) -> None:
    """Opens the playground on a run and writes what it shows."""
    os.chdir(home.parent)
    app = Playground(Start(Path(home.name), "train", runs=(run,)))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLED_S)
        PICTURE.write_text(portable(app.export_screenshot(title="slmctl watch", simplify=True)), encoding="utf-8")


def portable(svg: str) -> str:
    """The same picture without web fonts and without anything that depends on the width of a glyph."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", FONTS).replace("font-family: arial", f"font-family: {FONTS}")
    colors = dict(re.findall(r"\.([\w-]+) \{ fill: (#\w+)", svg))
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(svg)
    for group in list(root.iter(f"{{{SVG}}}g")):
        for text in [node for node in group if node.tag == f"{{{SVG}}}text" and node.get("textLength")]:
            place = list(group).index(text)
            group.remove(text)
            for shape in reversed(shapes(text, colors)):
                group.insert(place, shape)
    return ElementTree.tostring(root, encoding="unicode")


def shapes(text: ElementTree.Element, colors: dict[str, str]) -> list[ElementTree.Element]:
    """A run of text as one path of its dots and lines and one element a word."""
    left, base, style = float(text.get("x", 0)), float(text.get("y", 0)), text.get("class", "")
    content, path = text.text or "", ""
    for column, letter in enumerate(content):
        x, y = left + column * CELL, base - 18.5  # the baseline is 18.5 below the top of the row
        if ord(letter) in BRAILLE:
            bits = [dot for bit, dot in enumerate(DOTS) if ord(letter) >> bit & 1]
            path += "".join(f"M{x + 3 + dx * 6:.1f} {y + 3 + dy * 6:.1f}h.1" for dx, dy in bits)
        elif letter in LINES:
            middle = f"M{x + CELL / 2:.1f} {y + LINE / 2:.1f}"
            arms = {"l": f"h{-CELL / 2}", "r": f"h{CELL / 2}", "u": f"v{-LINE / 2}", "d": f"v{LINE / 2}"}
            path += "".join(middle + arms[arm] for arm in LINES[letter])
    found = []
    if path:
        width = "3.4" if any(ord(letter) in BRAILLE for letter in content) else "2"
        pen = {"fill": "none", "stroke": colors[style], "stroke-width": width, "stroke-linecap": "round"}
        found.append(ElementTree.Element(f"{{{SVG}}}path", {"d": path} | pen))
    for word in re.finditer(r"[^\s\u00a0]+", re.sub(f"[\u2800-\u28ff{''.join(LINES)}]", " ", content)):
        where = {"x": f"{left + word.start() * CELL:.1f}", "y": f"{base}", "class": style}
        element = ElementTree.Element(f"{{{SVG}}}text", where | {"textLength": f"{len(word[0]) * CELL:.1f}"})
        element.text = word[0]
        found.append(element)
    return found


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1]), sys.argv[2]))
