"""Editing a text in the person's own editor, with the screen suspended meanwhile."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from engine.core.errors import EngineError


class EditorError(EngineError):
    """An editor that is missing or that failed."""


def edit_in_editor(app: App[Any], text: str, environ: Mapping[str, str]) -> str:
    """The text after it was edited in $VISUAL or $EDITOR.

    Raises: EditorError if neither is set, or the editor cannot be started or fails.
    """
    command = environ.get("VISUAL") or environ.get("EDITOR") or ""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise EditorError(f"$EDITOR is {command!r}, which is not a command: {error}") from error
    if not words:
        raise EditorError("no editor is set; set $EDITOR, for example: export EDITOR=nano")
    handle, name = tempfile.mkstemp(suffix=".txt", prefix="slmctl-")
    file = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as written:
            written.write(text)
        with app.suspend():
            code = subprocess.run([*words, name], check=False).returncode
        if code != 0:
            raise EditorError(f"{words[0]} ended with exit code {code}; the text is as it was")
        return file.read_text(encoding="utf-8", errors="replace").removesuffix("\n")
    except SuspendNotSupported as error:
        raise EditorError("cannot open an editor in this terminal") from error
    except OSError as error:
        raise EditorError(f"{words[0]} cannot be started: {error.strerror}") from error
    finally:
        file.unlink(missing_ok=True)
