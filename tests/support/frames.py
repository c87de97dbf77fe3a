"""Frames of screens that are kept in the repository; a test that fails on one tells how to accept the change."""

import difflib
import os
import re

from slmctl.tui.app import Playground
from tests.support.paths import ROOT
from tests.support.pilot import screen_text

FRAMES = ROOT / "tests" / "slmctl" / "tui" / "frames"
ACCEPT = "ACCEPT_FRAMES"


def assert_frame(app: Playground, name: str) -> None:
    """Checks that the screen equals the frame kept as `name` for its size.

    With ACCEPT_FRAMES=1 in the environment the frame is replaced instead. Speeds are left out.
    """
    width, height = app.size
    path, shown = FRAMES / f"{name}-{width}x{height}.txt", re.sub(r"\b\d+/s\b", "N/s", screen_text(app)) + "\n"
    if os.environ.get(ACCEPT):
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    changes = "\n".join(difflib.unified_diff(kept.splitlines(), shown.splitlines(), "kept", "shown", lineterm=""))
    assert shown == kept, (
        f"the {name} screen differs from {path.relative_to(ROOT)}; if that is intended, accept it with\n"
        f"{ACCEPT}=1 python -m pytest tests/slmctl/tui/test_frames.py\n{changes}"
    )
