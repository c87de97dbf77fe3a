"""Help is there for every command, begins with examples, and costs no torch."""

import os
import pty
import subprocess
import sys
import termios
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.slmctl.conftest import Cli

STAGES = ["run", "pretrain", "sft", "rm", "ppo"]
COMMANDS = [*STAGES, "eval", "chat", "label", "sample", "score", "export", "watch", "runs", "doctor"]
NESTED = [["presets", "list"], ["presets", "show"], ["data", "check"], ["data", "show"], ["data", "convert"]]
HEAVY = ("torch", "numpy", "datasets", "pyarrow", "transformers", "tokenizers", "safetensors", "textual")


def test_help_lists_every_command(cli: Cli) -> None:
    outcome = cli("--help")
    assert outcome.code == 0
    for name in [*COMMANDS, "presets", "data"]:
        assert f"  {name} " in outcome.out


def test_help_lists_commands_by_purpose(cli: Cli) -> None:
    lines = cli("--help").out.splitlines()
    panels = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert panels == ["Options:", "Train:", "Compare:", "Playground:", "Data:", "Other:"]
    for panel, name in (("Train", "ppo"), ("Compare", "score"), ("Playground", "label"), ("Data", "presets")):
        section = lines[lines.index(f"{panel}:") :]
        assert any(line.startswith(f"  {name} ") for line in section[: section.index("") if "" in section else None])


def test_completion_offers_commands_and_options(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # where no shell is found, it is named
    assert "slmctl" in cli("--show-completion", "bash").out
    monkeypatch.setenv("_SLMCTL_COMPLETE", "complete_bash")
    for typed, offered in (
        ("slmctl r", {"run", "rm", "runs"}),
        ("slmctl ppo --k", set()),
        ("slmctl rm --in", {"--init"}),
    ):
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
        assert set(cli().out.split()) == offered


def test_a_usage_error_is_broken_between_words(tmp_path: Path) -> None:
    control, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 60))
    command = [sys.executable, "-m", "slmctl", "run", "--seed", "x"]
    assert subprocess.run(command, stderr=terminal, cwd=tmp_path).returncode == 2
    os.close(terminal)
    said = os.read(control, 4000).decode()
    os.close(control)
    error = said[said.index("error: ") :].split()
    assert " ".join(error).endswith("unable to parse string as an integer")
    assert all(len(line) <= 60 for line in said.splitlines())


def test_nothing_typed_prints_help(cli: Cli) -> None:
    outcome = cli()
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage: slmctl" in outcome.out


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + NESTED, ids=" ".join)
def test_help_begins_with_examples(cli: Cli, words: list[str]) -> None:
    outcome = cli(*words, "--help")
    assert outcome.code == 0
    lines = [line.strip() for line in outcome.out.splitlines() if line.strip()]
    assert lines[1].removeprefix("echo").lstrip().startswith("slmctl " + words[0])


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out.strip() == version("slmctl")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["rnu"], "Did you mean"),
        (["run", "--sed", "1"], "--seed"),
        (["run", "--seed", "x"], "integer"),
        (["eval"], "Missing argument"),
        (["--ascii", "runs"], "--ascii applies only to chat, label and watch, not to runs"),
    ],
)
def test_usage_errors_are_exit_2_with_a_hint(cli: Cli, arguments: list[str], hint: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert hint in outcome.err
    assert "Traceback" not in outcome.err


LIGHT = [
    ["--help"],
    ["watch", "--once"],
    ["watch", "--json"],
    ["runs"],
    ["runs", "--json"],
    ["presets", "list"],
    ["presets", "show", "tiny"],
    ["run", "--help"],
]


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_light_commands_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom slmctl.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n"
        f"    assert not ended.code, ended.code\nprint('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    environ = {**os.environ, "SLMCTL_RUNS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    "module",
    [
        *("slmctl.cli", "slmctl.console.safe", "slmctl.worker.client", "slmctl.watch.frame"),
        *("slmctl.label.simulated", "slmctl.label.rounds"),
        *(
            "engine.run.planning",
            "engine.rundir.heartbeat",
            "engine.data.survey",
            "engine.data.labels.agreement",
            "engine.pocket.judge",
        ),
    ],
)
def test_imports_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
