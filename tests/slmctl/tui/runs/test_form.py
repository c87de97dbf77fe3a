"""The form that starts a stage: its rows, the command it makes, what it refuses, and starting for good."""

import shlex
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir
from engine.rundir.heartbeat import Heartbeat
from slmctl.runs.command_form import INPUT_HELP, TAKES, TARGETS, CommandDraft, settings_of
from slmctl.runs.overview import RunSummary
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from slmctl.tui.runs.form import FormScreen
from slmctl.tui.runs.form_rows import FieldTable, FormRow, matches, next_choice, rows_of, with_choice
from tests.end_to_end.conftest import PRESET
from tests.support.pilot import played, screen_text, typed_at_once, until


def test_the_rows_are_inputs_of_the_target_then_its_settings(tmp_path: Path) -> None:
    standing = RunSummary("a", "finished", models={"sft": "x", "rm": "y"})
    for target in TARGETS:
        draft = CommandDraft(target)
        rows = rows_of(draft, settings_of(draft, tmp_path, {}), [standing], "tiny")
        keys = [row.key for row in rows]
        assert keys[:4] == ["what", "preset", "run", "from"]
        assert keys[4 : keys.index("fresh")] == list(TAKES[target])
        assert {key for key in keys if key in INPUT_HELP} == set(TAKES[target])
        assert len(keys) == len(set(keys)) > 90
    by_key = {row.key: row for row in rows_of(CommandDraft("ppo"), [], [standing], "tiny")}
    assert by_key["reward"].choices == ("", "a:rm", "pocket:judge")
    assert by_key["init"].choices == ("", "a:sft")
    assert by_key["from"].choices == ("", "a")
    draft = CommandDraft("ppo", preset="tiny", run="b", parent="tiny", fresh=True, inputs={"reward": "a:rm"})
    assert [row.key for row in rows_of(draft, [], [], "tiny") if row.changed] == ["run", "from", "reward", "fresh"]
    assert [row.key for row in rows_of(CommandDraft(preset="slm-25m"), [], [], "tiny") if row.changed] == ["preset"]


def test_a_choice_changes_the_draft_and_hides_the_old_value(tmp_path: Path) -> None:
    draft = CommandDraft("ppo")
    rows = {row.key: row for row in rows_of(draft, settings_of(draft, tmp_path, {}), [], "tiny")}
    draft = with_choice(draft, rows["ppo.kl_coef"], " 0.1 ", "0.33")
    assert draft.settings == {"ppo.kl_coef": "0.1"}
    assert with_choice(draft, rows["ppo.kl_coef"], "0.33", "0.33").settings == {}
    assert with_choice(draft, rows["ppo.kl_coef"], "", "0.33").settings == {}
    assert with_choice(draft, rows["reward"], "a:rm", "").inputs == {"reward": "a:rm"}
    assert (with_choice(draft, rows["fresh"], "yes", "").fresh, with_choice(draft, rows["run"], "b", "").run) == (
        True,
        "b",
    )


def test_choices_go_round_and_words_narrow_down() -> None:
    row = FormRow("k", "b", "meaning of it", choices=("a", "b"))
    assert (next_choice(row, 1), next_choice(row, -1), next_choice(FormRow("k", "x", ""), 1)) == ("a", "a", "x")
    assert next_choice(FormRow("k", "other", "", choices=("a", "b")), 1) == "a"
    assert matches(row, "K mean") and not matches(row, "k x")


def command(app: Playground) -> str:
    """The command that the form shows."""
    return str(app.screen.query_one("#form-command", Static).render()).removeprefix("$ ")


def said(app: Playground) -> str:
    """What the form says of the command."""
    return str(app.screen.query_one("#form-preview", Static).render())


def form(home: Path) -> Playground:
    return Playground(Start(home))


async def choose(pilot: Pilot[None], words: str, text: str) -> None:
    """Types `text` into the first row that the filter leaves."""
    for key, typed in (("slash", words), ("enter", text)):
        await pilot.press(key)
        assert isinstance(pilot.app.focused, Input)
        pilot.app.focused.value = typed
        await pilot.press("enter")


def test_the_form_shows_the_command_and_what_it_would_do(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: "Creates run tiny. Stages: base model" in said(app), "the preview")
        assert command(app) == "slmctl run --preset tiny"
        await pilot.press("right", "right")
        assert "Start fine-tuning on demonstrations" in screen_text(app)
        await choose(pilot, "new run", "mine")
        await choose(pilot, "sft.epochs", "1.5")
        assert command(app) == "slmctl sft --preset tiny --run mine --set sft.epochs=1.5"
        await until(
            pilot, lambda: "Creates run mine. Stages: base model, SFT policy." in screen_text(app), "the preview"
        )
        assert "* sft.epochs" in screen_text(app) and "; 2 changed (*)" in screen_text(app)
        await pilot.press("y")
        assert shlex.split(app.clipboard)[1:] == ["sft", "--preset", "tiny", "--run", "mine", "--set", "sft.epochs=1.5"]
        await pilot.press("backspace")
        assert command(app) == "slmctl sft --preset tiny --run mine"

    played(form(tmp_path), script)


def about(app: Playground) -> str:
    """What the form says of the chosen row."""
    return str(app.screen.query_one("#form-about", Static).render())


def test_changes_are_listed_by_name_and_can_be_reset(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        assert "*" not in screen_text(app)
        await choose(pilot, "ppo.kl_coef", "0.1")
        assert "from --set; changed from 0.33 (preset tiny); backspace resets it" in about(app)
        await choose(pilot, "seed", "3")
        assert "from --seed; changed from 0 (default); backspace resets it" in about(app)
        await pilot.press("slash", *"*", "enter")
        lines = screen_text(app).splitlines()
        assert [line.split()[1:4:2] for line in lines if line.startswith(" * ")] == [
            ["seed", "--seed"],
            ["ppo.kl_coef", "--set"],
        ]
        await pilot.press("down", "backspace")
        assert command(app) == "slmctl run --preset tiny --seed 3"
        assert "; 1 changed (*)" in screen_text(app) and "ppo.kl_coef" not in screen_text(app)

    played(form(tmp_path), script, (140, 45))


def test_keys_that_come_all_at_once_go_where_each_leads(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        edited = ("enter", *["backspace"] * 4, *"0.1", "enter")
        typed_at_once(app, "n", "/", *"ppo.kl_coef", "enter", *edited, "/", *"ctrl", "escape", "end")
        wanted = "slmctl run --preset tiny --set ppo.kl_coef=0.1"
        await until(pilot, lambda: bool(app.screen.query("#form-command")) and command(app) == wanted, "the command")
        await until(pilot, lambda: isinstance(app.focused, FieldTable), "the table")

    played(form(tmp_path), script)


def test_what_is_wrong_is_said_and_nothing_is_started_or_lost(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await choose(pilot, "ppo.minibatch", "100")
        await until(pilot, lambda: "minibatch 100 must divide rollout_batch 256" in said(app), "the refusal")
        await pilot.press("ctrl+r")
        assert isinstance(app.screen, FormScreen) and list(tmp_path.iterdir()) == []
        await choose(pilot, "ppo.minibatch", "128")
        await until(pilot, lambda: "Creates run tiny" in said(app), "the preview")
        assert command(app) == "slmctl run --preset tiny --set ppo.minibatch=128"
        await pilot.press("escape", "n")
        assert command(app) == "slmctl run --preset tiny --set ppo.minibatch=128"
        await choose(pilot, "dtype of matrix", "half")
        await until(pilot, lambda: "must be one of float32, bfloat16" in said(app), "the choices")

    played(form(tmp_path), script)


def test_escape_leaves_the_edited_line_and_then_the_form(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n", "down", "enter")
        assert isinstance(app.focused, Input)
        footer = screen_text(app).splitlines()[-1]
        assert "Apply" in footer and "Cancel" in footer and "Filter" not in footer
        await pilot.press("ctrl+r")
        assert [note.message for note in app._notifications][-1].startswith("apply the edited value first")
        assert list(tmp_path.iterdir()) == []
        await pilot.press("x", "escape")
        assert isinstance(app.focused, FieldTable) and command(app) == "slmctl run --preset tiny"
        await pilot.press("enter", "down", "enter")
        assert command(app) == "slmctl run --preset slm-25m"
        await pilot.press("escape")
        assert not isinstance(app.screen, FormScreen)

    played(form(tmp_path), script)


def test_escape_clears_the_filter_first(tmp_path: Path) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n", "slash", *"kl_coef", "enter")
        assert "sft.epochs" not in screen_text(app) and "preset" not in screen_text(app).splitlines()[4]
        await pilot.press("escape")
        assert isinstance(app.screen, FormScreen) and isinstance(app.focused, FieldTable)
        assert app.screen.query_one(FieldTable).row_count > 90
        await pilot.press("slash", *"kl_coef", "enter", "f2", "n")
        assert app.screen.query_one(FieldTable).row_count > 90
        await pilot.press("escape")
        assert not isinstance(app.screen, FormScreen)

    played(form(tmp_path), script)


def test_a_refused_value_blocks_the_start_until_changed(tmp_path: Path) -> None:
    refusal = "dtype is 'half'; it must be one of"

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await choose(pilot, "dtype of matrix", "half")
        await choose(pilot, "seed", "3")
        await until(pilot, lambda: "Creates run tiny" in said(app), "the preview")
        assert refusal in said(app) and command(app) == "slmctl run --preset tiny --seed 3"
        await pilot.press("ctrl+r")
        assert refusal in [note.message for note in app._notifications][-1] and list(tmp_path.iterdir()) == []
        await choose(pilot, "dtype of matrix", "bfloat16")
        assert refusal not in said(app)
        await choose(pilot, "dtype of matrix", "half")
        assert refusal in said(app)
        await pilot.press("backspace")
        assert refusal not in said(app) and command(app) == "slmctl run --preset tiny --seed 3"

    played(form(tmp_path), script)


def test_g_opens_the_form_for_the_remaining_stages(tmp_path: Path) -> None:
    run = prepare(RunRequest("sft", run="a", overrides={"ppo.steps": "7"}), tmp_path, {"OMP_NUM_THREADS": "1"}).rundir
    run.final("pretrain").mkdir(parents=True)
    pulse = Heartbeat(run, "sft")
    pulse.update(stage="sft", state="finished")
    pulse._write()

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "a" in screen_text(app).splitlines()[3], "the run")
        await pilot.press("g")
        await until(pilot, lambda: "Resumes run a. Stages: SFT policy" in said(app), "the preview")
        assert command(app) == "slmctl run --run a"
        await pilot.press("slash", *"ppo.steps")
        assert " 7 " in screen_text(app)

    played(form(tmp_path), script)


def test_a_refused_command_is_shown_and_the_form_stays(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": 3, "completion": "\\u001b]0;x\\u0007"}\n')

    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n", "right", "right")
        await choose(pilot, "your own rows", str(bad))
        await until(pilot, lambda: "Stages: base model, SFT policy" in said(app), "the preview")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "line 1: prompt must be a string, got 3" in said(app), "its own sentence")
        assert isinstance(app.screen, FormScreen) and f"--data {bad}" in command(app)
        assert not list((tmp_path / "runs").iterdir())

    played(form(tmp_path / "runs"), script, (140, 45))


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_a_run_is_started_and_then_watched(tmp_path: Path, size: tuple[int, int]) -> None:
    async def script(app: Playground, pilot: Pilot[None]) -> None:
        await pilot.press("n", "right")
        await choose(pilot, "settings to start", PRESET)
        await choose(pilot, "new run", "x")
        await choose(pilot, "max_steps", "1")
        await until(pilot, lambda: "Creates run x. Stages: base model." in said(app), "the preview")
        await pilot.click("#form-start")
        await until(pilot, lambda: app.current_mode == "train", "the run at work")
        run = RunDir(tmp_path / "x")
        await until(pilot, lambda: run.finished("pretrain") is not None, "the model")
        assert run.log.stat().st_mode & 0o777 == run.events.stat().st_mode & 0o777
        await pilot.press("f2", "n")
        assert command(app) == "slmctl run --preset tiny"

    played(form(tmp_path), script, size)
