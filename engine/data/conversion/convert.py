"""From files in foreign formats to rows that readers.py reads, and their split into training and validation.

Open Assistant's conversation trees (trees.py) become comparisons or demonstrations, self-instruct tasks become
demonstrations. The format is known by the first row. Where the rows are written is the caller's business.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.errors import ConfigError, DataError
from engine.core.seeding import python_rng
from engine.data.conversion.trees import ASSISTANT, JsonRow, demonstrations_of, rankings_of, tree_name, turns_of
from engine.data.conversion.values import object_of, text_of, value_of
from engine.data.files import RawRow, read_rows
from engine.data.records import prompt_key

KINDS = ("comparisons", "demonstrations")
TREES, TASKS = "conversation trees", "self-instruct tasks"
UNDERSTOOD = (
    "conversation trees of Open Assistant ({prompt: {role, text, replies}}) and tasks of self-instruct "
    "({instruction, instances: [{input, output}]})"
)


@dataclass
class Conversion:
    """What became of a file: `groups` has the rows by first prompt, so that a split keeps together what is alike.

    `items` counts trees or tasks, `replies` the replies in them, `left_out` those that came into no row, by reason.
    """

    source: str
    kind: str
    items: int = 0
    replies: int = 0
    groups: dict[object, list[JsonRow]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> list[JsonRow]:
        """All rows, in the order of the file but for trees with the same first prompt."""
        return [row for rows in self.groups.values() for row in rows]


def convert(path: Path, kind: str | None = None, language: str | None = None) -> Conversion:
    """The rows of `kind` that a file holds; without one comparisons of trees, demonstrations of tasks.

    Raises: FileError; DataError naming the first row that does not fit; ConfigError for a format that is not
    understood, or for what it cannot give.
    """
    rows = list(read_rows(path, ""))
    if not rows:
        raise DataError(f"{path} is empty")
    source = _source(rows[0])
    done = Conversion(source, kind or ("comparisons" if source == TREES else "demonstrations"))
    if done.kind not in KINDS:
        raise ConfigError(f"{done.kind!r} cannot be made of other formats; use {' or '.join(KINDS)}")
    if source == TASKS and done.kind == "comparisons":
        raise ConfigError(f"{path} holds {TASKS}, which rank nothing; only demonstrations can be made of them")
    if source == TASKS and language is not None:
        raise ConfigError(f"{path} holds {TASKS}, which do not name their language")
    seen: set[object] = set()
    for row in rows:
        try:
            _add(done, _value(row), seen, language)
        except DataError as error:
            raise error if row.value is error else DataError(f"{row.place}: {error}") from None
    return done


def split(done: Conversion, share: float, seed: int) -> tuple[list[JsonRow], list[JsonRow]]:
    """Rows for training and for validation; whatever begins with the same prompt goes to one side.

    It depends on the first prompts and the seed alone, so comparisons and demonstrations of one file are cut alike.

    Raises: DataError where a side would have no row.
    """
    keys = sorted(done.groups, key=repr)
    python_rng(seed, "convert/split").shuffle(keys)
    held = set(keys[: max(1, round(len(keys) * share))])
    train = [row for key, rows in done.groups.items() if key not in held for row in rows]
    validation = [row for key, rows in done.groups.items() if key in held for row in rows]
    if not train or not validation:
        side = "validation" if train else "training"
        raise DataError(f"no row is left for {side}: {len(done.rows)} {done.kind} under {len(keys)} first prompts")
    return train, validation


def _source(row: RawRow) -> str:
    """The format of a file whose first row this is. Raises: ConfigError; DataError for a row that is not JSON."""
    value = _value(row)
    if isinstance(value, dict) and isinstance(value.get("prompt"), dict) and "text" in value["prompt"]:
        return TREES
    if isinstance(value, dict) and "instruction" in value and "instances" in value:
        return TASKS
    raise ConfigError(f"{row.place}: this is no format that can be converted; understood are {UNDERSTOOD}")


def _value(row: RawRow) -> Any:
    if isinstance(row.value, DataError):
        raise row.value
    return row.value


def _add(done: Conversion, value: Any, seen: set[object], language: str | None) -> None:
    """Puts a tree or task into `done`; `seen` knows those before it."""
    table = object_of(value, "the row")
    done.items += 1
    if done.source == TREES:
        _add_tree(done, table, seen, language)
    else:
        _add_task(done, table, seen)


def _add_tree(done: Conversion, tree: Mapping[str, Any], seen: set[object], language: str | None) -> None:
    turns = turns_of(tree, language)
    replies = sum(turn.role == ASSISTANT for turn in turns)
    done.replies += replies
    name = tree_name(tree)
    if name in seen:
        done.left_out["in a tree that is there already"] += replies
        return
    seen |= {name} - {None}
    make = rankings_of if done.kind == "comparisons" else demonstrations_of
    done.groups.setdefault(prompt_key(turns[0].text), []).extend(make(turns, done.left_out))


def _add_task(done: Conversion, task: Mapping[str, Any], seen: set[object]) -> None:
    instruction = text_of(task, "instruction")
    own = done.groups.setdefault(prompt_key(instruction), [])
    for index, item in enumerate(value_of(task, "instances", list) or []):
        place = f"instances[{index}]"
        instance = object_of(item, place)
        given = text_of(instance, "input", place) if instance.get("input") is not None else ""
        output = text_of(instance, "output", place)
        done.replies += 1
        key = (instruction, given, output)
        if not instruction.strip() or not output.strip():
            done.left_out["empty, or without an instruction"] += 1
        elif key in seen:
            done.left_out["there already"] += 1
        else:
            seen.add(key)
            own.append({"instruction": instruction, "input": given, "output": output})
