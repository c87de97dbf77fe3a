"""The playground in real terminals, with real processes."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import Heartbeat, liveness, read_status
from tests.end_to_end.conftest import PRESET, wait_for
from tests.slmctl.tui.conftest import Open
from tests.support.tmux import Terminal, colors_in


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_obeys_no_sequence_gets_help(terminal: Open, term: str) -> None:
    screen = terminal(TERM=term, columns=120, rows=60)
    assert screen.ended() == 0
    assert "slmctl run --preset tiny" in screen.screen()
    assert b"\x1b" not in screen.written()


@pytest.mark.parametrize("stream", ["<", ">", "2>"])
def test_where_one_stream_is_no_terminal_there_is_help(terminal: Open, stream: str) -> None:
    screen = terminal(columns=120, rows=60, redirect=f"{stream}file")
    assert screen.ended() == 0
    assert b"\x1b" not in screen.written()
    assert ("slmctl run --preset tiny" in screen.screen()) == (stream != ">")


def test_it_opens_on_an_empty_folder_and_restores_the_terminal(terminal: Open, home: Path) -> None:
    screen = terminal()
    text = screen.wait("[F2 Runs]", "run tiny", "about five minutes, no download", "^p Commands")
    assert len(text.splitlines()) == 24
    screen.press("F5")
    screen.wait("[F5 Chat]")
    screen.press("C-q")
    assert screen.ended() == 0
    assert b"\x1b[?1049l" in screen.written()
    assert not home.exists()


def test_without_colour_the_words_tell(terminal: Open, home: Path) -> None:
    run = prepare(RunRequest("run", run="a"), home, {"OMP_NUM_THREADS": "1"}).rundir
    screen = terminal(NO_COLOR="1")
    screen.wait("[F2 Runs]", run.name, "not begun")
    assert not colors_in(screen.written())


def test_in_ascii_the_runs_are_ascii(terminal: Open, home: Path) -> None:
    prepare(RunRequest("run", run="a"), home, {"OMP_NUM_THREADS": "1"})
    text = terminal("--ascii").wait("not begun", "enter Watch")
    assert text.isascii()


def without_age(text: str) -> str:
    """A screen without its seconds and minutes."""
    return re.sub(r" *\d+ (s|min)\b", "", text)


def fill_in(screen: Terminal, words: str, text: str) -> None:
    """Finds a row of the form by words and types into it."""
    screen.press("/")
    screen.wait("Clear filter")
    screen.type(words)
    screen.press("Enter")
    screen.wait("⏎ Edit")
    screen.press("Enter")
    screen.wait(" = ", "esc Cancel")
    screen.type(text)
    screen.press("Enter")
    screen.wait("⏎ Edit")


def test_a_run_started_from_the_form_outlives_the_screen(terminal: Open, home: Path) -> None:
    run = RunDir(home / "mine")
    screen = terminal(columns=100, rows=30)
    screen.wait("run tiny")
    screen.press("n")
    screen.wait("Creates run tiny")
    fill_in(screen, "settings to start", PRESET)
    fill_in(screen, "new run", "mine")
    fill_in(screen, "ppo.steps", "200")
    screen.wait("--set ppo.steps=200", "Creates run mine.")
    screen.press("C-r")
    screen.wait("[F3 Train]")
    screen.press("F2")
    screen.wait("running", "1 active", "mine")
    os.kill(screen.pid(), signal.SIGKILL)
    screen.ended()
    said = len(run.read_events())
    wait_for(lambda: len(run.read_events()) > said, "the run to go on")
    status = read_status(run)
    assert status is not None and liveness(status, status["at"]) == "running"
    again = terminal()
    again.wait("running", "mine")
    os.kill(status["pid"], signal.SIGKILL)
    again.wait("dead", "0 active", "g resumes from the last checkpoint")


def test_another_size_and_back_leaves_everything_in_place(terminal: Open, home: Path) -> None:
    for name in ("one", "two"):
        prepare(RunRequest("run", run=name), home, {"OMP_NUM_THREADS": "1"})
    screen = terminal(columns=200, rows=60)
    wide = screen.wait("one", "two", "preset", "from", "no stage yet")
    for keys, seen in (((), "one"), (("n",), "what"), (("?",), "Everywhere")):
        screen.press(*keys)
        screen.wait(seen)
        for columns, rows in ((40, 10), (1, 1), (80, 24), (40, 10), (200, 60)):
            screen.resize(columns, rows)
            assert len(screen.screen().splitlines()) == rows
        screen.wait(seen, "[F2 Runs]")
    screen.press("Escape", "Escape")
    screen.until(lambda text: without_age(text) == without_age(wide), "the first picture again")
    screen.press("C-q")
    assert screen.ended() == 0


EVIL = "\x1b]0;pwned\x07\x1b[31m\x9b2J\u202e[@click=app.quit()]x[/nope]"


def test_nothing_that_files_say_is_obeyed(terminal: Open, home: Path) -> None:
    text = json.dumps(EVIL)
    run = prepare(RunRequest("run", run="run"), home, {"OMP_NUM_THREADS": "1"}).rundir
    run.run_toml.write_text(run.run_toml.read_text().replace('preset = "tiny"', f"preset = {text}"))
    event = {"schema": 1, "event": "AlertRaised", "stage": EVIL, "step": 1, "alert": "", "message": EVIL}
    run.events.write_text(json.dumps(event, separators=(",", ":")) + "\n")
    pulse = Heartbeat(run, "sft")
    pulse.update(stage="sft", state="finished")
    pulse._write()
    run.path.rename(home / EVIL.replace("/", ""))
    (home / "torn").mkdir()
    (home / "torn" / "run.toml").write_text(f"x = {EVIL}")
    screen = terminal(columns=140, rows=45)
    title = screen.title()
    screen.wait("damaged", "␛]0;pwned␇␛[31m")
    screen.press("Down")
    screen.wait("alert", "[@click=app.qu")
    screen.press("c", "g")
    screen.wait("$ slmctl run --run")
    screen.press("C-p")
    screen.type("pwned")
    screen.wait("Open ␛]0;pwned")
    screen.press("Escape", "Escape", "C-q")
    assert screen.ended() == 0
    assert screen.title() == title
    written = screen.written().decode(errors="surrogateescape")
    written = re.sub(r"\x1b\]22;\w+\x07", "", written)  # the shape of the pointer, which Textual sets
    assert not [mark for mark in ("\x1b]0;", "\x07", "\x1b[31m", "\x9b", "\u202e") if mark in written]
