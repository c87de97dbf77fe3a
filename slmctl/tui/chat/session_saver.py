"""Saves the conversation of a chat to disk, one file operation at a time and beside the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from textual.message import Message

from engine.core.errors import EngineError
from slmctl.chat.conversation import check_models
from slmctl.chat.sessions import Session, SessionFiles
from slmctl.tui.chat.messages import SessionSaved
from slmctl.tui.playground import Start
from slmctl.worker.sampling_settings import with_defaults

P = ParamSpec("P")
T = TypeVar("T")


class SessionSaver:
    """`post` posts a message to the screen."""

    def __init__(self, files: SessionFiles, post: Callable[[Message], object]) -> None:
        self.files = files
        self._post = post
        self._one_at_a_time = asyncio.Lock()
        self._saved: Session | None = None  # as it was saved or loaded last

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a job on the files, run after all earlier ones. Raises: what the job raises."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(job, *args, **kwargs)

    def opened(self, session: Session) -> None:
        """Notes that a session needs no saving as it is."""
        self._saved = session

    async def save(self, session: Session) -> None:
        """Saves a session that has turns and has changed, and posts the outcome."""
        if not self._needs_saving(session):
            return
        self._saved = session
        try:
            saved = await self.run(self.files.save, session)
        except EngineError as error:
            self._saved = None
            self._post(SessionSaved(session.name, session.name, str(error)))
        else:
            self._post(SessionSaved(session.name, saved.name))

    def save_now(self, session: Session) -> None:
        """Saves a session that has changed, before the process ends; the screen has reported an error before."""
        if self._needs_saving(session):
            with suppress(EngineError):
                self.files.save(session)

    def _needs_saving(self, session: Session) -> bool:
        return bool(session.turns) and session != self._saved


def new_session(start: Start, files: SessionFiles) -> Session:
    """A new session with the options of the command line."""
    return Session(files.new_name(), sampling=with_defaults(start.sampling), **_typed(start))


def first_session(start: Start, files: SessionFiles) -> Session:
    """The session to open first: a new or a saved one, with the options of the command line.

    Raises: EngineError for models that do not fit, or a session that cannot be read.
    """
    if start.models:
        check_models(start.models)
    name = str(start.options.get("session") or "")
    if name not in files.names():
        session = new_session(start, files)
        return replace(session, name=name, named=True) if name else session
    saved = files.load(name)
    typed = {option: value for option, value in _typed(start).items() if value}
    return replace(saved, sampling={**saved.sampling, **start.sampling}, **typed)


def _typed(start: Start) -> dict[str, Any]:
    """The fields of a session that the command line sets; empty if it does not."""
    options = {"system": "system", "ref": "ref", "scorer": "reward"}
    texts = {field: str(start.options.get(option) or "") for field, option in options.items()}
    return {"models": start.models, "seed": start.seed, **texts}
