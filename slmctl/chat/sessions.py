"""Saved chat sessions: one JSON file each in `.chats` in the runs folder, written atomically.

The folder's name begins with a dot, so it is not listed as a run.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from engine.core.errors import ConfigError, FileError, did_you_mean
from engine.rundir.directory import write_text
from slmctl.chat.conversation import Turn, check_models
from slmctl.worker.protocol import LensToken
from slmctl.worker.sampling_settings import with_defaults

SCHEMA = 2
FOLDER = ".chats"
LONGEST_NAME = 100  # bytes
MOST_LISTED = 100
PROMPT_START = 60  # characters of a session's first prompt that a list shows


@dataclass(frozen=True)
class Session:
    """A conversation with its models and settings. `named`: the user chose the name; `saved_at`: when it was saved.

    An empty `ref` or `scorer` means each model's default.
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
    saved_at: float = 0.0

    def with_turn(self, turn: Turn) -> "Session":
        """A copy with the last turn replaced."""
        return replace(self, turns=(*self.turns[:-1], turn))


@dataclass(frozen=True)
class SessionSummary:
    """A session in a list; `damage` is the error of one that cannot be read."""

    name: str
    saved_at: float
    turns: int = 0
    models: tuple[str, ...] = ()
    prompt_start: str = ""
    damage: str = ""


class SessionFiles:
    """The saved sessions of one runs folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._written: dict[str, int] = {}  # when each file was written as we know it, to detect other writers

    def path(self, name: str) -> Path:
        """The file of a session."""
        return self.folder / f"{name}.json"

    def names(self) -> list[str]:
        """The names of all sessions, the newest first."""
        found = ((changed_at(path), path.stem) for path in self.folder.glob("*.json"))
        return [name for _, name in sorted(found, reverse=True)]

    def new_name(self) -> str:
        """An unused name made of the date and time."""
        return self._unused(time.strftime("%Y-%m-%d-%H%M%S"))

    def first(self, typed: Session) -> Session:
        """The session to open first: the saved one of the same name with the settings in `typed`, else a new one.

        Raises: EngineError for models that do not fit, or a session that cannot be read.
        """
        if typed.models:
            check_models(typed.models)
        if typed.name not in self.names():
            name = typed.name or self.new_name()
            return replace(typed, name=name, named=bool(typed.name), sampling=with_defaults(typed.sampling))
        saved = self.load(typed.name)
        fields = {name: getattr(typed, name) for name in ("models", "system", "seed", "ref", "scorer")}
        changed: dict[str, Any] = {name: value for name, value in fields.items() if value}
        return replace(saved, sampling={**saved.sampling, **typed.sampling}, **changed)

    def save(self, session: Session) -> Session:
        """Writes a session and returns it as written: under a new name if another process has changed its file.

        Raises: FileError if it cannot be written.
        """
        name = session.name
        if changed_at(self.path(name)) not in (0, self._written.get(name, 0)):
            name = self._unused(name)
        saved = replace(session, name=name, saved_at=time.time())
        try:
            write_text(self.path(name), json.dumps({"schema": SCHEMA, **_plain(asdict(saved))}))
        except OSError as error:
            raise FileError(f"the conversation cannot be saved to {self.path(name)}: {error.strerror}") from error
        self._written[name] = changed_at(self.path(name))
        return saved

    def rename(self, session: Session, name: str) -> Session:
        """Writes a session under a name that the user chose, and deletes the file of its automatic name.

        Raises: ConfigError for an invalid or used name; FileError.
        """
        check_session_name(name)
        if name == session.name:
            return self.save(replace(session, named=True))
        if self.path(name).exists():
            raise ConfigError(f"session {name!r} already exists; open it with /load {name}, or choose another name")
        saved = self.save(replace(session, name=name, named=True))
        if not session.named and changed_at(self.path(session.name)) == self._written.get(session.name, -1):
            self.path(session.name).unlink(missing_ok=True)
        return saved

    def branch(self, session: Session, turns: int, name: str = "") -> Session:
        """Writes a copy of a session's first `turns` turns under a new name, and returns it.

        Raises: ConfigError for an invalid or used name; FileError.
        """
        if name and self.path(check_session_name(name)).exists():
            raise ConfigError(f"session {name!r} already exists; choose another name")
        name, named = name or self._unused(session.name), bool(name)
        return self.save(replace(session, turns=session.turns[:turns], name=name, named=named))

    def load(self, name: str) -> Session:
        """A session by name. Raises: ConfigError for an invalid name; FileError if it is missing or damaged."""
        before = changed_at(self.path(check_session_name(name)))
        session = self._read(name)
        self._written[name] = before
        return session

    def summaries(self) -> list[SessionSummary]:
        """The latest sessions, the newest first, damaged ones included."""
        return [self._summary(name) for name in self.names()[:MOST_LISTED]]

    def _read(self, name: str) -> Session:
        path = self.path(name)
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(row, dict) or row.get("schema") != SCHEMA:
                raise ValueError(f"it is not a session of schema {SCHEMA}, which this version of slmctl reads")
            return replace(cast(Session, _parsed(Session, row)), name=name)
        except FileNotFoundError:
            names = self.names()
            known = ", ".join(names[:8]) or "none yet"
            raise FileError(f"there is no session {name!r}{did_you_mean(name, names)} (sessions: {known})") from None
        except OSError as error:
            raise FileError(f"session file {path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise FileError(f"session file {path} is damaged: {_why(error)}; move it away to reuse its name") from error

    def _summary(self, name: str) -> SessionSummary:
        saved_at = changed_at(self.path(name)) / 1e9
        try:
            session = self._read(name)
        except FileError as error:
            return SessionSummary(name, saved_at, damage=str(error))
        start = session.turns[0].prompt[:PROMPT_START] if session.turns else ""
        return SessionSummary(name, saved_at, len(session.turns), session.models, start)

    def _unused(self, name: str) -> str:
        candidates = (f"{name}-{number}" if number > 1 else name for number in range(1, 10**6))
        return next(candidate for candidate in candidates if not self.path(candidate).exists())


def check_session_name(name: str) -> str:
    """The name itself. Raises: ConfigError if it cannot name a file."""
    too_long = len(name.encode(errors="replace")) > LONGEST_NAME
    if not name or too_long or name.startswith((".", "-")) or not name.isprintable() or "/" in name:
        raise ConfigError(
            f"{name[:LONGEST_NAME]!r} is not a valid session name: it must be 1 to {LONGEST_NAME} bytes long, without "
            "'/' and without '.' or '-' at the start, such as greetings"
        )
    return name


def changed_at(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if it does not exist."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return 0


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}"
    return f"field {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:120]


def _plain(value: Any) -> Any:
    """JSON values; NaN and infinity become None, and numbers of lens tokens are rounded, which takes less space."""
    if isinstance(value, LensToken):
        return [_plain(round(item, 4) if isinstance(item, float) else item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parsed(kind: Any, value: Any) -> Any:
    """An object of a type of this file, from its JSON. Raises: ValueError, TypeError or KeyError."""
    arguments = get_args(kind)
    if is_dataclass(kind):
        return cast(Any, kind)(**{name: _parsed(hint, value[name]) for name, hint in get_type_hints(kind).items()})
    if kind is LensToken:
        hints = get_type_hints(kind).values()
        return LensToken(*(_parsed(hint, item) for hint, item in zip(hints, value, strict=True)))
    if get_origin(kind) is tuple:
        return tuple(_parsed(arguments[0], item) for item in value)
    if get_origin(kind) is Mapping:
        return {_parsed(arguments[0], name): _parsed(arguments[1], item) for name, item in value.items()}
    if type(None) in arguments:
        return None if value is None else _parsed(arguments[0], value)
    if kind is float and value is None:
        return math.nan
    if not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    return value
