"""The rows of the form that starts a stage: first the command's options, then every setting.

The rows are pure functions of a draft and the available runs; a table shows them, and a line edits the selected one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from engine.core.settings import list_presets
from engine.run.pipeline import COMMON
from engine.run.planning import DEFAULT_PRESET
from slmctl.console.safe import one_line
from slmctl.runs.command_form import INPUT_HELP, TAKES, TARGETS, CommandDraft, Setting
from slmctl.runs.overview import RunSummary
from slmctl.tui.runs.runs_table import KeyedTable

YES, NO = "yes", "no"
CHANGED = "*"
OPENED = {"preset": DEFAULT_PRESET, "fresh": NO}  # when the form opens; "" for the other options
MODELS = {"init": ("pretrain", "sft", "ppo"), "ref": ("pretrain", "sft", "ppo"), "reward": ("rm",), "judge": ("rm",)}
SCORERS = ("pocket:judge",)
FIELDS = {"what": "target", "preset": "preset", "run": "run", "from": "parent"}  # of a draft, by row
NAME, VALUE, ORIGIN = 27, 16, 13
ORIGIN_FROM = 96
CHANGED_STYLE = "bold yellow"
PADDING, SCROLLBAR, LEAST_MEANING = 2, 2, 10


@dataclass(frozen=True)
class FormRow:
    """One option or setting: `text` is the choice, `hint` what applies without one.

    `choices` are offered; nothing else is allowed unless the row is `free`. `changed` marks a choice made here; then
    `origin` is the option that sets it, and `instead` the value that it replaces.
    """

    key: str
    text: str
    meaning: str
    hint: str = ""
    allowed: str = ""
    origin: str = ""
    choices: tuple[str, ...] = ()
    free: bool = True
    changed: bool = False
    instead: str = ""


def rows_of(draft: CommandDraft, settings: Sequence[Setting], runs: Sequence[RunSummary], preset: str) -> list[FormRow]:
    """All rows; the settings come from `preset`, the choices from `runs`."""
    names, known = tuple(run.run for run in runs), tuple(one.name for one in list_presets())
    rows = [
        FormRow("what", draft.target, TARGETS[draft.target], choices=tuple(TARGETS), free=False),
        FormRow("preset", draft.preset, "settings to start from: a name or your own FILE.toml", preset, choices=known),
        FormRow("run", draft.run, _run_meaning(draft, names), draft.name, choices=names),
        FormRow("from", draft.parent, "run whose finished stages a new run shares", "none", choices=("", *names)),
    ]
    for name in TAKES[draft.target]:
        rows.append(FormRow(name, draft.inputs.get(name, ""), INPUT_HELP[name], "none", choices=_models(name, runs)))
    fresh = YES if draft.fresh else NO
    rows.append(FormRow("fresh", fresh, "restart this stage and all later ones", choices=(NO, YES), free=False))
    rows = [replace(row, changed=row.key != "what" and row.text not in ("", OPENED.get(row.key))) for row in rows]
    return rows + [_setting_row(setting, draft) for setting in settings]


def _run_meaning(draft: CommandDraft, names: Sequence[str]) -> str:
    return "resumes this run" if draft.name in names else "name of a new run"


def _models(option: str, runs: Sequence[RunSummary]) -> tuple[str, ...]:
    """The models of all runs that fit an option."""
    wanted = MODELS.get(option, ())
    found = [f"{run.run}:{name}" for run in runs for name in wanted if name in run.models]
    return ("", *found, *(SCORERS if option in ("reward", "judge") else ())) if wanted else ()


def _setting_row(setting: Setting, draft: CommandDraft) -> FormRow:
    row = FormRow(
        setting.name,
        setting.text,
        setting.meaning,
        "all cores" if setting.name == "threads" else "",
        setting.allowed,
        setting.origin,
        setting.choices,
        not setting.choices,
    )
    if setting.name not in draft.settings:
        return row
    option = f"--{setting.name.replace('_', '-')}" if setting.name in COMMON else "--set"
    instead = f"{setting.text or row.hint or 'nothing'} ({setting.origin})"
    return replace(row, text=draft.settings[setting.name], origin=option, changed=True, instead=instead)


def with_choice(draft: CommandDraft, row: FormRow, text: str, before: str) -> CommandDraft:
    """The draft with another choice in a row; for a setting, its value `before` any choice counts as none."""
    text = text.strip()
    if row.key == "fresh":
        return replace(draft, fresh=text == YES)
    if row.key in FIELDS:
        changed: dict[str, Any] = {FIELDS[row.key]: text}
        return replace(draft, **changed)
    if row.key in INPUT_HELP:
        return replace(draft, inputs=_with(draft.inputs, row.key, text))
    return replace(draft, settings=_with(draft.settings, row.key, "" if text == before else text))


def _with(table: Mapping[str, str], key: str, text: str) -> dict[str, str]:
    rest = {name: value for name, value in table.items() if name != key}
    return {**rest, key: text} if text else rest


def next_choice(row: FormRow, step: int) -> str:
    """The choice after the current one of a row, or before it."""
    if not row.choices:
        return row.text
    place = row.choices.index(row.text) if row.text in row.choices else -1 if step > 0 else 0
    return row.choices[(place + step) % len(row.choices)]


def matches(row: FormRow, words: str) -> bool:
    """Whether a row's name, meaning or change mark contains every word of a filter."""
    text = f"{CHANGED if row.changed else ''} {row.key} {row.meaning}".lower()
    return all(word in text for word in words.lower().split())


@dataclass
class FieldEdited(Message):
    """A row of the form was edited; `text` is None if it was canceled."""

    key: str
    text: str | None


class FieldTable(KeyedTable):
    """The rows by key: name, value, meaning; a changed one is marked with a star."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Edit", id="form.edit"),
        Binding("right", "screen.cycle(1)", "Choices", id="form.next"),
        Binding("left", "screen.cycle(-1)", "Previous choice", id="form.previous", show=False),
        Binding("backspace,delete", "screen.reset", "Reset", id="form.reset"),
    ]

    def __init__(self) -> None:
        super().__init__("form-fields", show_header=False)
        self._last: Sequence[FormRow] = ()

    def on_resize(self) -> None:
        """Fits the columns to the width."""
        self.show(self._last)

    def show(self, rows: Sequence[FormRow]) -> None:
        """Shows these rows."""
        self._last = rows
        titles = {column: (Text(), width) for column, width in _widths(self.size.width).items()}
        self.show_cells(titles, {row.key: [_cell(row, column) for column in titles] for row in rows}, 0)


def _widths(width: int) -> dict[str, int]:
    """The columns that fit, with their widths; the meaning takes what is left."""
    columns = {"name": NAME, "value": VALUE}
    if width >= ORIGIN_FROM:
        columns["origin"] = ORIGIN
    rest = width - sum(columns.values()) - PADDING * (len(columns) + 1) - SCROLLBAR
    return {**columns, "meaning": max(LEAST_MEANING, rest)}


def _cell(row: FormRow, column: str) -> Text:
    style = CHANGED_STYLE if row.changed else ""
    if column == "name":
        return Text(f"{CHANGED if row.changed else ' '} {row.key}", style)
    if column == "value" and row.text:
        return Text(one_line(row.text, VALUE), style)
    text = {
        "value": one_line(row.hint, VALUE),
        "origin": one_line(row.origin, ORIGIN),
        "meaning": one_line(row.meaning),
    }
    return Text(text[column], style if column == "origin" and style else "dim", no_wrap=True, overflow="ellipsis")


class EditInput(Input):
    """The text of the edited row."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Apply", id="form.apply")]


class EditLine(Horizontal):
    """Shown while a row is edited; enter applies the text, escape cancels, up and down go through the choices."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="form.cancel"),
        Binding("down", "choose(1)", "Next choice", show=False),
        Binding("up", "choose(-1)", "Previous choice", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._row: FormRow | None = None

    def compose(self) -> ComposeResult:
        """The row's name and the text."""
        yield Static("", markup=False, id="edit-name")
        yield EditInput(compact=True, id="edit-text")

    def edit(self, row: FormRow) -> None:
        """Starts to edit a row."""
        self._row, self.display = row, True
        self.query_one("#edit-name", Static).update(Content(f"{one_line(row.key)} ="))
        line = self.query_one(Input)
        line.value, line.placeholder = row.text, one_line(row.hint)
        self.screen.set_focus(line)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Applies what was typed."""
        event.stop()
        self._finish(event.value)

    def action_cancel(self) -> None:
        """Leaves the row as it was."""
        self._finish(None)

    def _finish(self, text: str | None) -> None:
        assert self._row is not None
        self.display = False
        self.post_message(FieldEdited(self._row.key, text))

    def action_choose(self, step: int) -> None:
        """Types the next of the row's choices."""
        assert self._row is not None
        line = self.query_one(Input)
        line.value = next_choice(FormRow(self._row.key, line.value, "", choices=self._row.choices), step)
        line.action_end()
