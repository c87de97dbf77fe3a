"""Conversations kept between visits: one JSON file each in `.chats` beside the runs, replaced in one piece.

The folder's name begins with a dot, so that it is never taken for a run. What a conversation is stands in
conversation.py.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.core.errors import ConfigError, FileError, did_you_mean
from engine.rundir.directory import write_text
from slmctl.chat.conversation import Judged, Reply, Turn
from slmctl.worker.protocol import LensToken

SCHEMA = 1
FOLDER = ".chats"
LONGEST_NAME = 100  # bytes
MOST_LISTED = 100
FIRST_WORDS = 60  # characters of a session's first prompt that a list shows


@dataclass(frozen=True)
class Session:
    """A conversation and what it is held with. `named` says that a person chose the name, `at` when it was kept last.

    `ref` and `scorer` are "" where each model's own is meant.
    """

    name: str
    models: tuple[str, ...] = ()
    system: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    ref: str = ""
    scorer: str = ""
    turns: tuple[Turn, ...] = ()
    named: bool = False
    at: float = 0.0

    def with_turn(self, turn: Turn) -> "Session":
        """The same with its last turn replaced."""
        return replace(self, turns=(*self.turns[:-1], turn))


@dataclass(frozen=True)
class Listed:
    """A session as a list shows it; `damage` is the sentence for one that cannot be read."""

    name: str
    at: float
    turns: int = 0
    models: tuple[str, ...] = ()
    first: str = ""
    damage: str = ""


class Sessions:
    """The sessions of one home of runs."""

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._written: dict[str, int] = {}  # when each file that we know was written, to notice another's hand

    def path(self, name: str) -> Path:
        """Where a session lies."""
        return self.folder / f"{name}.json"

    def names(self) -> list[str]:
        """The names of all sessions, the latest first."""
        found = ((_changed(path), path.stem) for path in self.folder.glob("*.json"))
        return [name for _, name in sorted(found, reverse=True)]

    def new_name(self, at: float | None = None) -> str:
        """A name by date and time that no session has."""
        first = time.strftime("%Y-%m-%d-%H%M%S", time.localtime(at))
        return self._free(first)

    def save(self, session: Session) -> Session:
        """Writes a session, and returns it as it was written.

        Where another process has written the file since we read or wrote it, ours goes under a new name.

        Raises: FileError where it cannot be written.
        """
        name = session.name
        if _changed(self.path(name)) not in (0, self._written.get(name, 0)):
            name = self._free(name)
        kept = replace(session, name=name, at=time.time())
        try:
            write_text(self.path(name), json.dumps({"schema": SCHEMA, **_plain(asdict(kept))}))
        except OSError as error:
            raise FileError(f"the conversation cannot be kept in {self.path(name)}: {error.strerror}") from error
        self._written[name] = _changed(self.path(name))
        return kept

    def rename(self, session: Session, name: str) -> Session:
        """Writes a session under a name of a person's choice; the file of a name that nobody chose goes away.

        Raises: ConfigError for a name that is none or is taken; FileError.
        """
        check_session_name(name)
        if name == session.name:
            return self.save(replace(session, named=True))
        if self.path(name).exists():
            raise ConfigError(f"there is a session {name!r} already; /load {name} opens it, or choose another name")
        kept = self.save(replace(session, name=name, named=True))
        if not session.named and _changed(self.path(session.name)) == self._written.get(session.name, -1):
            self.path(session.name).unlink(missing_ok=True)
        return kept

    def branch(self, session: Session, turns: int, name: str = "") -> Session:
        """A copy of a session that holds its first `turns` turns, under a new name, written.

        Raises: ConfigError for a name that is none or is taken; FileError.
        """
        if name and self.path(check_session_name(name)).exists():
            raise ConfigError(f"there is a session {name!r} already; choose another name")
        kept = replace(session, turns=session.turns[:turns], name=name or self._free(session.name), named=bool(name))
        return self.save(kept)

    def load(self, name: str) -> Session:
        """A session by its name. Raises: ConfigError for no name; FileError where it is missing or damaged."""
        before = _changed(self.path(check_session_name(name)))
        session = self._read(name)
        self._written[name] = before
        return session

    def listed(self) -> list[Listed]:
        """The latest sessions, the very latest first; a damaged one says so."""
        return [self._listed(name) for name in self.names()[:MOST_LISTED]]

    def _read(self, name: str) -> Session:
        path = self.path(name)
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            return _session_of(row, name)
        except FileNotFoundError:
            names = self.names()
            there = ", ".join(names[:8]) or "none yet"
            raise FileError(f"there is no session {name!r}{did_you_mean(name, names)} (sessions: {there})") from None
        except OSError as error:
            raise FileError(f"the session {path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise FileError(
                f"the session {path} is damaged: {_why(error)}; move it away to use the name again"
            ) from error

    def _listed(self, name: str) -> Listed:
        at = _changed(self.path(name)) / 1e9
        try:
            session = self._read(name)
        except FileError as error:
            return Listed(name, at, damage=str(error))
        first = session.turns[0].prompt[:FIRST_WORDS] if session.turns else ""
        return Listed(name, at, len(session.turns), session.models, first)

    def _free(self, name: str) -> str:
        candidates = (f"{name}-{number}" if number > 1 else name for number in range(1, 10**6))
        return next(candidate for candidate in candidates if not self.path(candidate).exists())


def check_session_name(name: str) -> str:
    """The name itself. Raises: ConfigError where it cannot be a file's name."""
    too_long = len(name.encode(errors="replace")) > LONGEST_NAME
    if not name or too_long or name.startswith((".", "-")) or not name.isprintable() or "/" in name:
        raise ConfigError(
            f"{name[:LONGEST_NAME]!r} cannot name a session, for it names a file: leave out '/', and '.' and '-' "
            "at the start, as in greetings"
        )
    return name


def _changed(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return 0


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}"
    return f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:120]


def _plain(value: Any) -> Any:
    """JSON-ready, numbers that are none as None; a lens as rows, since a token's field names outweigh it."""
    if isinstance(value, dict):
        return {name: _rows(item) if name == "lens" else _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rows(lens: Any) -> list[list[Any]]:
    return [[_plain(_rounded(token[name])) for name in ("text", "logprob", "kl_nats", "value")] for token in lens]


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _session_of(row: Any, name: str) -> Session:
    if not isinstance(row, dict):
        raise ValueError("it is not an object")
    if row.get("schema") != SCHEMA:
        raise ValueError(f"it has schema {row.get('schema')!r} and this slmctl reads {SCHEMA}")
    return Session(
        name=name,
        models=tuple(_text(model) for model in row["models"]),
        system=_text(row["system"]),
        sampling=_sampling(row["sampling"]),
        seed=int(row["seed"]),
        ref=_text(row["ref"]),
        scorer=_text(row["scorer"]),
        turns=tuple(_turn_of(turn) for turn in row["turns"]),
        named=bool(row["named"]),
        at=float(row["at"]),
    )


def _turn_of(row: Any) -> Turn:
    judged, edited = (None if row[name] is None else Judged(**row[name]) for name in ("judged", "edited"))
    return Turn(
        prompt=_text(row["prompt"]),
        models=tuple(_text(model) for model in row["models"]),
        step=int(row["step"]),
        seed=int(row["seed"]),
        system=_text(row["system"]),
        sampling=_sampling(row["sampling"]),
        replies={_text(model): _reply_of(reply) for model, reply in row["replies"].items()},
        follow=_text(row["follow"]),
        judged=judged,
        edited=edited,
    )


def _reply_of(row: Any) -> Reply:
    return Reply(
        text=_text(row["text"]),
        tokens=int(row["tokens"]),
        finished=bool(row["finished"]),
        stopped=bool(row["stopped"]),
        seconds=_number(row["seconds"]),
        kl_nats=_maybe(row["kl_nats"]),
        ref=_text(row["ref"]),
        score=_maybe(row["score"]),
        scorer=_text(row["scorer"]),
        by=_text(row["by"]),
        checkpoint=_text(row["checkpoint"]),
        chat=bool(row["chat"]),
        error=_text(row["error"]),
        note=_text(row["note"]),
        lens=tuple(
            LensToken(_text(text), _number(logprob), _maybe(kl), _maybe(value))
            for text, logprob, kl, value in row["lens"]
        ),
    )


def _sampling(row: Any) -> dict[str, float]:
    return {_text(name): value for name, value in row.items() if isinstance(value, (int, float))}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _maybe(value: Any) -> float | None:
    return None if value is None else float(value)
