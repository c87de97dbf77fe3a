"""Keeps the conversations of a chat on the disk, one file job after the other and beside the loop.

What a file holds is sessions.py's business.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import ParamSpec, TypeVar

from textual.message import Message

from engine.core.errors import EngineError
from slmctl.chat.conversation import check_models
from slmctl.chat.sampling_settings import with_usual
from slmctl.chat.sessions import Session, Sessions
from slmctl.tui.messages import SessionKept
from slmctl.tui.start import Start

P = ParamSpec("P")
T = TypeVar("T")


class Keeper:
    """`post` hands a message to the screen."""

    def __init__(self, sessions: Sessions, post: Callable[[Message], object]) -> None:
        self.sessions = sessions
        self._post = post
        self._turn = asyncio.Lock()
        self._kept: Session | None = None  # as it was saved or loaded last

    async def do(self, job: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What a job on the files gives, once those before it are done. Raises: what the job raises."""
        async with self._turn:
            return await asyncio.to_thread(job, *given, **named)

    def know(self, session: Session) -> None:
        """Takes note that a session needs no saving as it is."""
        self._kept = session

    async def keep(self, session: Session) -> None:
        """Saves a session that has turns and has changed, and says how that went."""
        if not self._is_news(session):
            return
        self._kept = session
        try:
            kept = await self.do(self.sessions.save, session)
        except EngineError as error:
            self._kept = None
            self._post(SessionKept(session.name, session.name, str(error)))
        else:
            self._post(SessionKept(session.name, kept.name))

    def keep_now(self, session: Session) -> None:
        """Saves what has changed before the process ends; where that fails, the screen has said so before."""
        if self._is_news(session):
            with suppress(EngineError):
                self.sessions.save(session)

    def _is_news(self, session: Session) -> bool:
        return bool(session.turns) and session != self._kept


def typed_session(start: Start, sessions: Sessions) -> Session:
    """A new session with what was typed on the command line."""
    options = start.options
    return Session(
        sessions.new_name(),
        start.models,
        str(options.get("system") or ""),
        with_usual(start.sampling),
        start.seed,
        str(options.get("ref") or ""),
        str(options.get("reward") or ""),
    )


def first_session(start: Start, sessions: Sessions) -> Session:
    """The session that the command line asked for, what was typed there in place of what was kept.

    Raises: EngineError for models that do not fit, or a session that cannot be read.
    """
    typed, name = typed_session(start, sessions), str(start.options.get("session") or "")
    if typed.models:
        check_models(typed.models)
    if not name:
        return typed
    if name not in sessions.names():
        return replace(typed, name=name, named=True)
    kept = sessions.load(name)
    return replace(
        kept,
        models=typed.models or kept.models,
        system=typed.system or kept.system,
        sampling={**kept.sampling, **start.sampling},
        seed=start.seed or kept.seed,
        ref=typed.ref or kept.ref,
        scorer=typed.scorer or kept.scorer,
    )
