"""One sampler child: its process, the requests that it owes answers, and what is said when it ends. Torch-free."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from engine.core.errors import EngineError, one_line
from slmctl.worker.protocol import Cancel, Done, Failed, Load, Reply, Request, Sample, Score, Token, from_line, to_line
from slmctl.worker.sampler import OnToken, SamplerGone

LONGEST_LINE = 2**26
PATIENCE_S = 2.0  # how long a child may take to end once it is asked to
STDERR_KEPT = 4096


@dataclass(frozen=True)
class Owed:
    """A request that waits for its last reply."""

    result: asyncio.Future[Any]
    on_token: OnToken | None


class Child:
    """A running child. Requests go out with a number of their own; replies find their way back by it."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process, self._stdin = process, process.stdin
        self._count = 0
        self._owed: dict[int, Owed] = {}
        self._loads: dict[tuple[str, bool], tuple[object, asyncio.Future[Any]]] = {}
        self._stderr = b""  # the end of it
        self._gone = ""  # how it ended, once it has
        self._hearing = asyncio.create_task(self._hear(process.stderr), name="what the sampler says on stderr")
        self._reading = asyncio.create_task(self._read(process.stdout), name="the sampler's replies")

    @classmethod
    async def start(cls, options: Sequence[str]) -> "Child":
        """A new child, which imports what this process would; Ctrl-C here does not reach it.

        Raises: SamplerGone where there is no starting it.
        """
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
        command = (sys.executable, "-P", "-u", "-m", "slmctl.worker", *options)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LONGEST_LINE, env=environ, start_new_session=True
            )
        except OSError as error:
            raise SamplerGone(f"the sampler cannot be started: {error}") from error
        return cls(process)

    @property
    def alive(self) -> bool:
        """Whether it may still answer."""
        return not self._gone

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def send(self, request: Load | Sample | Score, on_token: OnToken | None = None) -> tuple[int, asyncio.Future[Any]]:
        """Sends a request, whatever its `id` says; its number, and what will be the result of its Done.

        The result raises: EngineError as the child said; SamplerGone where the child has ended.
        """
        self._count += 1
        result = asyncio.get_running_loop().create_future()
        if self._gone:
            _fail(result, SamplerGone(self._gone))
            return self._count, result
        self._owed[self._count] = Owed(result, on_token)
        self._stdin.write(to_line(replace(request, id=self._count)).encode())
        return self._count, result

    def stop(self, number: int) -> None:
        """Asks for the end of a request; its result is what there is then."""
        if number in self._owed and self.alive:
            self._count += 1
            self._stdin.write(to_line(Cancel(self._count, number)).encode())

    def forget(self, number: int) -> None:
        """Ends a request whose result nobody waits for."""
        self.stop(number)
        self._owed.pop(number, None)

    async def result(self, request: Load | Sample | Score) -> Any:
        """The result of a request; where the task that waits for it is cancelled, the child works no more on it.

        Raises: EngineError as the child said; SamplerGone.
        """
        number, result = self.send(request)
        try:
            return await result
        except asyncio.CancelledError:
            self.forget(number)
            raise

    async def loaded(self, request: Load, stamp: object) -> Any:
        """The result of a Load, sent once for all who ask, and again where `stamp` is another than last time.

        Raises: as `result`.
        """
        key = (request.name, request.scorer)
        if key not in self._loads or self._loads[key][0] != stamp or _failed(self._loads[key][1]):
            self._loads[key] = (stamp, self.send(request)[1])
        return await asyncio.shield(self._loads[key][1])

    def has(self, name: str, scorer: bool) -> bool:
        """Whether this child was asked to load a name."""
        return (name, scorer) in self._loads

    async def close(self) -> None:
        """Ends the child: by closing its stdin, and where that is not enough by force."""
        self._end("the sampler was closed")
        self._stdin.close()
        await self._ended()
        await asyncio.gather(self._hearing, self._reading, return_exceptions=True)

    async def _ended(self) -> int:
        """The code that the process ended with; it is killed where it does not end soon."""
        try:
            return await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    async def _read(self, replies: asyncio.StreamReader) -> None:
        """Hands out replies until there are no more, and then says that the child has ended."""
        with suppress(ValueError):  # a line that has no end
            while line := await replies.readline():
                with suppress(ValueError):  # what something printed before the child could stop it
                    self._hand_out(from_line(line.decode()))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._hearing), PATIENCE_S)
        self._end(_last_words(await self._ended(), self._stderr))

    def _hand_out(self, reply: Request | Reply) -> None:
        owed = self._owed.get(reply.id)
        if owed is None:
            return
        if isinstance(reply, Token):
            if owed.on_token is not None:  # by way of the loop, so that its mistakes are not ours
                asyncio.get_running_loop().call_soon(owed.on_token, reply.row, reply.text)
            return
        del self._owed[reply.id]
        if isinstance(reply, Failed):
            _fail(owed.result, _said(reply))
        elif isinstance(reply, Done) and not owed.result.done():
            owed.result.set_result(reply.result)

    def _end(self, how: str) -> None:
        """Tells everybody who still waits; the first sentence is the one that counts."""
        self._gone = self._gone or how
        for owed in self._owed.values():
            _fail(owed.result, SamplerGone(self._gone))
        self._owed.clear()

    async def _hear(self, stderr: asyncio.StreamReader) -> None:
        """Keeps the end of what the child writes on stderr."""
        while said := await stderr.read(STDERR_KEPT):
            self._stderr = (self._stderr + said)[-STDERR_KEPT:]


def _fail(result: asyncio.Future[Any], error: EngineError) -> None:
    if not result.done():
        result.set_exception(error)
        result.exception()  # noticed, so that asyncio does not complain where nobody waits


def _failed(result: asyncio.Future[Any]) -> bool:
    return result.done() and (result.cancelled() or result.exception() is not None)


def _said(reply: Failed) -> EngineError:
    error = EngineError(reply.error)
    error.exit_code = reply.exit_code
    return error


def _last_words(code: int, stderr: bytes) -> str:
    """The sentence for a child that ended with `code`, a signal's where it is negative."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = stderr.decode("utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f"the sampler has ended ({how})" + (f": {one_line(last)[:-1]}" if last else "")
