"""Chat in real terminals, with real models in a real sampler child."""

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from engine.data.labels.store import read_labels
from engine.model.checkpoint import save_model
from engine.model.heads import ScalarModel
from engine.model.sampling import generator
from engine.model.tokenizer import train_tokenizer
from engine.model.transformer import Architecture, LanguageModel, initialize
from engine.rundir.directory import RunDir, write_text
from slmctl.chat.conversation import Reply, Turn
from slmctl.chat.sessions import Session, SessionFiles
from tests.slmctl.tui.chat.test_hostile_text import HOSTILE
from tests.slmctl.tui.conftest import SLMCTL, Open
from tests.slmctl.tui.conftest import _environ as environ_of

PROMPT = "What is the capital of France?"


@pytest.fixture
def run(home: Path) -> RunDir:
    """A run whose policies have random weights, so their replies contain any bytes."""
    torch.set_num_threads(1)
    tokenizer = train_tokenizer([PROMPT, "The capital of France is Paris.", "Hello, how are you?"] * 5, 300)
    sizes = Architecture(tokenizer.size, width=16, layers=2, heads=2, kv_heads=1, head_width=8, ffn=32, context=128)
    run = RunDir(home / "tiny")
    write_text(run.run_toml, "schema = 2\n")
    value, reward = ScalarModel(sizes), ScalarModel(sizes, bias=0.25)
    policies = {place: LanguageModel(sizes) for place in ("sft", "ppo", "step")}
    for i, model in enumerate((value, reward, *policies.values())):
        initialize(model, generator(i, "test"))
    save_model(run.final("rm"), reward, tokenizer, {"stage": "rm"})
    save_model(run.final("sft"), policies["sft"], tokenizer, {"stage": "sft"})
    save_model(run.final("ppo"), policies["ppo"], tokenizer, {"stage": "ppo"}, value=value)
    save_model(run.step_dir("ppo", 10), policies["step"], tokenizer, {"stage": "ppo"})
    return run


def test_two_models_in_a_terminal_lose_nothing_when_killed(terminal: Open, run: RunDir) -> None:
    screen = terminal("chat", "tiny:sft", "tiny:ppo", "--session", "one", "--annotator", "ann", columns=140, rows=45)
    screen.wait("tiny:sft and tiny:ppo reply", "KL to tiny:sft")
    screen.type(PROMPT)
    screen.press("Enter")
    shown = screen.until(lambda text: text.count("/s") >= 2 and "…" not in text, "both replies")
    assert "KL: the reference" in shown and " nats" in shown and "reward" in shown
    screen.press("Tab")
    screen.wait(">1 tiny:sft")
    screen.press("Tab")
    screen.wait(">2 tiny:ppo")
    screen.press("2")
    screen.wait("saved as row 1", "★ better")
    (label,) = read_labels(run.path / "labels.db")
    assert label.ranks == (1, 0) and label.annotator == "ann"
    screen.press("[")
    screen.wait("tiny:ppo@10 instead of tiny:ppo", "sft ─ [10] ─ ppo")
    screen.press("t")
    screen.wait("absolute KL", "token 1 of")
    os.kill(screen.pid(), signal.SIGKILL)
    screen.ended()
    again = terminal("chat", "--session", "one", columns=80, rows=24)
    again.wait(PROMPT, "★ better", "enter: send")
    again.press("C-q")
    assert again.ended() == 0


def test_the_prompt_opens_in_the_editor_of_the_user(terminal: Open, run: RunDir, tmp_path: Path) -> None:
    script = tmp_path / "edit"
    script.write_text('#!/bin/sh\ntr a-z A-Z < "$1" > "$1.new" && mv "$1.new" "$1"\n')
    script.chmod(0o755)
    screen = terminal("chat", "tiny:ppo", EDITOR=str(script))
    screen.wait("tiny:ppo replies")
    screen.type("shout this")
    screen.wait("shout this")
    screen.press("F4")
    screen.wait("SHOUT THIS", "enter: send")
    screen.press("C-q")
    assert screen.ended() == 0


@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1"}])
def test_a_saved_session_cannot_send_escape_sequences(terminal: Open, home: Path, colour: dict[str, str]) -> None:
    replies = {"a": Reply("\n".join(HOSTILE.values()), 9, True, by="a", note=HOSTILE["escapes"])}
    turns = tuple(Turn(text, ("a",), replies=replies) for text in HOSTILE.values())
    SessionFiles(home).save(Session("evil", ("a",), HOSTILE["escapes"], {}, turns=turns))
    screen = terminal("chat", "--session", "evil", "--ascii", **colour)
    screen.wait("enter: send")
    title = screen.title()
    screen.press("Tab", "Up", "Up", "PageUp")
    screen.press("Escape")
    screen.wait("enter: send")
    assert screen.title() == title
    written = screen.written()
    assert b"\x1b]0;pwned" not in written and b"\x1b]52" not in written and "\u202e".encode() not in written
    screen.press("C-q")
    assert screen.ended() == 0


MISTAKES = [
    (("a", "b", "c", "d", "e"), 2, "5 models are too many"),
    (("tiny:pop",), 2, "did you mean 'ppo'"),
    ((), 2, "name at least one model"),
    (("tiny:ppo", "--session", "../evil"), 2, "'../evil' is not a valid session name"),
    (("--session", "nothing"), 3, "there is no session 'nothing'"),
    (("tiny:ppo", "--reward", "tiny:rn"), 2, "no stage 'rn' has models"),
    (("tiny:ppo", "--temperature", "-1"), 2, "--temperature is -1"),
]


@pytest.mark.parametrize(("words", "code", "sentence"), MISTAKES)
def test_wrong_options_are_reported_before_the_screen_opens(
    home: Path, tmp_path: Path, run: RunDir, words: tuple[str, ...], code: int, sentence: str
) -> None:
    control, terminal = pty.openpty()
    environ = {**environ_of(home, tmp_path), "TERM": "xterm"}
    done = subprocess.run([*SLMCTL, "chat", *words], stdin=terminal, stdout=terminal, stderr=terminal, env=environ)
    os.close(terminal)
    said = os.read(control, 4096)
    os.close(control)
    assert done.returncode == code
    assert sentence.encode() in said and b"\x1b" not in said


def test_plain_chat_in_a_terminal(terminal: Open, run: RunDir) -> None:
    screen = terminal("chat", "tiny:ppo", "--plain", "--max-new-tokens", "4", "--reward", "tiny:rm")
    screen.wait("enter an empty line to quit", ">")
    screen.type("Hi")
    screen.press("Enter")
    screen.wait("(reward ")
    screen.press("Enter")
    assert screen.ended() == 0
