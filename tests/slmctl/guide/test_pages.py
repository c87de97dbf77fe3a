"""Every command and Python program of the manual and of README.md runs, on a run of the tiny preset made very small."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.core.errors import ConfigError
from engine.core.metrics import REGISTRY
from engine.core.settings import all_settings, flatten_table
from slmctl.guide.pages import TOPICS, page
from slmctl.tui.keymap import binding_ids, key_tables
from tests.slmctl.conftest import Cli
from tests.support.paths import ROOT, SMALL_PRESET

README = "README.md"
NEEDS_A_TERMINAL = {"chat": (), "watch": ("--once", "--json"), "label": ("--simulate",)}
PIPED = re.compile(r"echo (?P<text>'[^']*'|\"[^\"]*\") \| (?P<command>slmctl .*)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is the content of, if any, and its text."""

    language: str
    file: str
    text: str


def text_of(topic: str) -> str:
    """The text of a page of the manual, or of README.md."""
    return (ROOT / topic).read_text(encoding="utf-8") if topic == README else page(topic, "")


def blocks(topic: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = re.finditer(r"^```(\w+) ?(\S*)\n(.*?)^```$", text_of(topic), re.MULTILINE | re.DOTALL)
    return [Block(*match.groups()) for match in found]


def small_settings() -> dict[str, str]:
    """The settings of the small test preset as environment variables, which win over those of the tiny preset."""
    values = flatten_table(tomllib.loads(SMALL_PRESET.read_text()))
    return {f"SLMCTL_{name.replace('.', '_').upper()}": str(values[name]) for name in values if name in all_settings()}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run named tiny."""
    home = tmp_path_factory.mktemp("guide") / "runs"
    environ = {"PATH": "/usr/bin:/bin", "SLMCTL_RUNS": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "slmctl", "run", "--preset", "tiny", "--threads", "1", "--quiet"]
    subprocess.run(command, env=environ | small_settings(), check=True, capture_output=True)
    return home / "tiny"


@pytest.fixture
def folder(trained: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, its runs beside it, among them tiny with some labels."""
    shutil.copytree(trained, home / "tiny")
    for name, value in (small_settings() | {"SLMCTL_THREADS": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_line(cli: Cli, line: str) -> None:
    """Runs one command as the manual has it; one that needs a terminal is only parsed."""
    piped = PIPED.fullmatch(line)
    words = shlex.split(piped["command"] if piped else line, comments=True)[1:]
    stdin = shlex.split(piped["text"])[0] + "\n" if piped else ""
    drawing = not words or (words[0] in NEEDS_A_TERMINAL and not set(NEEDS_A_TERMINAL[words[0]]) & set(words))
    outcome = cli(*words, "--help") if drawing and not piped else cli(*words, stdin=stdin)
    assert outcome.code == 0, f"{line}\n{outcome.err}"


@pytest.mark.parametrize("topic", [README, *TOPICS])
def test_what_a_page_shows_runs(topic: str, cli: Cli, folder: Path) -> None:
    for block in blocks(topic):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            subprocess.run(
                [sys.executable, "-c", block.text], check=True, env={"PYTHONPATH": str(ROOT), **small_settings()}
            )
        elif block.language == "sh":
            for line in block.text.strip().splitlines():
                run_line(cli, line)


def test_every_block_has_a_language_that_is_checked() -> None:
    languages = {block.language for topic in [README, *TOPICS] for block in blocks(topic)}
    assert languages <= {"sh", "python", "jsonl", "toml", "text"}
    fences = sum(text_of(topic).count("\n```") for topic in [README, *TOPICS])
    assert fences == 2 * sum(len(blocks(topic)) for topic in [README, *TOPICS])


def test_generated_tables_are_complete() -> None:
    assert all(f"`{name}`" in page("settings", "") for name in all_settings())
    assert all(f"`{name}`" in page("rlhf", "") for name in REGISTRY)
    assert all(f"`{name}`" in page("playground", key_tables()) for name in binding_ids() if "." in name)
    assert not any("{{" in page(topic, "") for topic in TOPICS)


def test_keys_are_shown_as_a_reader_types_them() -> None:
    shown = key_tables()
    assert all(f"`{key}`" in shown for key in ("/", "+", "@", "tab", "shift+n", "space", "esc", "⏎"))
    assert not any(f"`{key}`" in shown for key in ("slash", "plus", "at", "\t", "N", "escape"))


def test_an_unknown_topic_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tour'"):
        page("tuor", "")


def test_the_command_lists_topics_and_prints_markdown(cli: Cli) -> None:
    listed = cli("guide")
    assert listed.code == 0 and all(topic in listed.out for topic in TOPICS)
    shown = cli("guide", "playground")
    assert shown.out.startswith("# The playground") and "`mode.chat`" in shown.out
    assert cli("guide", "nothing").code == 2
