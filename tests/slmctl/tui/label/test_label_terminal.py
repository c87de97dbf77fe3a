"""The Label mode in a real terminal, with a real sampler child: killed in the middle, no label is lost."""

import os
import re
import signal
from functools import partial
from pathlib import Path

import pytest

from engine.data.labels.store import read_labels
from engine.model.checkpoint import save_model
from tests.slmctl.tui.conftest import SLMCTL, Open
from tests.support.tiny import PROMPTS, language_model, scalar_model, word_tokenizer
from tests.support.tmux import Terminal

VOTES = 20


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Labels pairs of two tiny models, on forty prompts."""
    for seed, name in enumerate(("a", "b")):
        save_model(tmp_path / name, language_model(seed=seed), word_tokenizer(), {})
    (tmp_path / "prompts.txt").write_text("".join(f"{prompt} {other}\n" for prompt in PROMPTS for other in PROMPTS))
    labels = str(tmp_path / "labels.db")
    return [
        "label",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
        "--prompts",
        str(tmp_path / "prompts.txt"),
        "--db",
        labels,
    ]


def said(screen: str) -> int:
    """How many labels the screen acknowledges."""
    found = re.search(r"(\d+) labels?\b", screen)
    return int(found[1]) if found else 0


def pair(terminal: Terminal) -> str:
    """The screen, once a pair stands on it."""
    return terminal.until(
        lambda screen: "Saving to" in screen and "sampling" not in screen and "loading" not in screen, "a pair"
    )


def vote(terminal: Terminal, count: int) -> None:
    """Votes until the screen acknowledges so many labels; each key waits for the one before."""
    for there in range(said(terminal.screen()), count):
        terminal.press("21"[there % 2])
        terminal.until(partial(_past, there), f"label {there + 1}")


def _past(there: int, screen: str) -> bool:
    return said(screen) > there


def test_killed_in_the_middle_every_acknowledged_label_is_there(
    terminal: Open, command: list[str], tmp_path: Path
) -> None:
    first = terminal(*command)
    pair(first)
    vote(first, VOTES)
    acknowledged = said(first.screen())
    os.kill(first.pid(), signal.SIGKILL)
    kept = read_labels(tmp_path / "labels.db")
    assert len(kept) >= acknowledged == VOTES
    second = terminal(*command, columns=140, rows=45)
    assert said(pair(second)) == len(kept)
    vote(second, len(kept) + 1)
    second.press("C-q")
    assert second.ended() == 0
    after = read_labels(tmp_path / "labels.db")
    assert after[: len(kept)] == kept
    fresh = [one.prompt for one in after if one.repeats is None]
    assert len(set(fresh)) == len(fresh)


@pytest.mark.parametrize("mode", ["label", "chat"])
def test_a_model_without_text_is_reported_before_the_screen(terminal: Open, tmp_path: Path, mode: str) -> None:
    save_model(tmp_path / "scores", scalar_model(), word_tokenizer(), {})
    refused = terminal(mode, str(tmp_path / "scores"), program=("sh", "-c", '"$0" "$@"; echo "code $?"', *SLMCTL))
    screen = refused.wait("code 3")
    assert "a reward model, which scores responses and cannot generate any" in " ".join(screen.split())
