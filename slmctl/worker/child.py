"""One sampler child: its process, its pending requests, and the error for them when it ends. Torch-free."""

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
from slmctl.worker.protocol import (
    CancelRequest,
    Done,
    Failed,
    LoadRequest,
    SampleRequest,
    ScoreRequest,
    TextChunk,
    WorkerReply,
    WorkerRequest,
    from_line,
    to_line,
)
from slmctl.worker.sampler import OnText, SamplerGone

LONGEST_LINE = 2**26
EXIT_TIMEOUT_S = 2.0  # before a child that is asked to end is killed
STDERR_KEPT = 4096


@dataclass(frozen=True)
class PendingRequest:
    """A request that waits for its last reply."""

    result: asyncio.Future[Any]
    on_text: OnText | None


class Child:
    """A running child. Requests are numbered, and replies are matched by number."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process, self._stdin = process, process.stdin
        self._count = 0
        self._pending: dict[int, PendingRequest] = {}
        self._loads: dict[tuple[str, bool], tuple[object, asyncio.Future[Any]]] = {}
        self._stderr = b""  # the end of it
        self._ended = ""  # why it ended, once it has
        self._reading_stderr = asyncio.create_task(self._read_stderr(process.stderr), name="stderr of the sampler")
        self._reading = asyncio.create_task(self._read(process.stdout), name="replies of the sampler")

    @classmethod
    async def start(cls, options: Sequence[str]) -> "Child":
        """A new child with the import path of this process; Ctrl-C here does not reach it.

        Raises: SamplerGone if it cannot be started.
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
        """Whether it can still reply."""
        return not self._ended

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def send(
        self, request: LoadRequest | SampleRequest | ScoreRequest, on_text: OnText | None = None
    ) -> tuple[int, asyncio.Future[Any]]:
        """Sends a request; returns its number, which replaces its `id`, and the future result of its Done.

        The result raises: EngineError if the request failed; SamplerGone if the child has ended.
        """
        self._count += 1
        result = asyncio.get_running_loop().create_future()
        if self._ended:
            _fail(result, SamplerGone(self._ended))
            return self._count, result
        self._pending[self._count] = PendingRequest(result, on_text)
        self._write(replace(request, id=self._count))
        return self._count, result

    def cancel(self, number: int) -> None:
        """Asks the child to end a request; its result is what exists then."""
        if number in self._pending and self.alive:
            self._count += 1
            self._write(CancelRequest(number, self._count))

    def forget(self, number: int) -> None:
        """Cancels a request whose result is not needed."""
        self.cancel(number)
        self._pending.pop(number, None)

    async def result(self, request: LoadRequest | SampleRequest | ScoreRequest) -> Any:
        """The result of a request, which is cancelled if the caller is.

        Raises: EngineError if the request failed; SamplerGone.
        """
        number, result = self.send(request)
        try:
            return await result
        except asyncio.CancelledError:
            self.forget(number)
            raise

    async def load(self, request: LoadRequest, version: object) -> Any:
        """The result of a LoadRequest, sent once for all callers, and again if it failed or `version` has changed.

        Raises: as `result`.
        """
        key = (request.name, request.scorer)
        if key not in self._loads or self._loads[key][0] != version or _has_failed(self._loads[key][1]):
            self._loads[key] = (version, self.send(request)[1])
        return await asyncio.shield(self._loads[key][1])

    def has(self, name: str, scorer: bool) -> bool:
        """Whether this child was asked to load a name."""
        return (name, scorer) in self._loads

    async def close(self) -> None:
        """Ends the child by closing its stdin; if that is not enough, kills it."""
        self._end("the sampler was closed")
        self._stdin.close()
        await self._exit_code()
        await asyncio.gather(self._reading_stderr, self._reading, return_exceptions=True)

    def _write(self, request: WorkerRequest) -> None:
        self._stdin.write(to_line(request).encode())

    async def _exit_code(self) -> int:
        """The exit code of the process, which is killed if it does not end soon."""
        try:
            return await asyncio.wait_for(self._process.wait(), EXIT_TIMEOUT_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        """Delivers replies until the child ends."""
        with suppress(ValueError):  # a line that is too long
            while line := await stdout.readline():
                with suppress(ValueError):  # printed by a library before the child redirected its stdout
                    self._deliver(from_line(line.decode()))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reading_stderr), EXIT_TIMEOUT_S)
        self._end(_why_ended(await self._exit_code(), self._stderr))

    def _deliver(self, reply: WorkerRequest | WorkerReply) -> None:
        pending = self._pending.get(reply.id)
        if pending is None:
            return
        if isinstance(reply, TextChunk):
            if pending.on_text is not None:  # through the event loop, so that its exceptions do not end this task
                asyncio.get_running_loop().call_soon(pending.on_text, reply.row, reply.text)
            return
        del self._pending[reply.id]
        if isinstance(reply, Failed):
            error = EngineError(reply.error)
            error.exit_code = reply.exit_code
            _fail(pending.result, error)
        elif isinstance(reply, Done) and not pending.result.done():
            pending.result.set_result(reply.result)

    def _end(self, why: str) -> None:
        """Fails all pending requests; the first reason is kept."""
        self._ended = self._ended or why
        for pending in self._pending.values():
            _fail(pending.result, SamplerGone(self._ended))
        self._pending.clear()

    async def _read_stderr(self, stderr: asyncio.StreamReader) -> None:
        """Keeps the end of the child's stderr."""
        while text := await stderr.read(STDERR_KEPT):
            self._stderr = (self._stderr + text)[-STDERR_KEPT:]


def _fail(result: asyncio.Future[Any], error: EngineError) -> None:
    if not result.done():
        result.set_exception(error)
        result.exception()  # marks it as retrieved, so that asyncio does not warn if nothing awaits it


def _has_failed(result: asyncio.Future[Any]) -> bool:
    return result.done() and (result.cancelled() or result.exception() is not None)


def _why_ended(code: int, stderr: bytes) -> str:
    """The error for a child with an exit code, negative for a signal."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = stderr.decode("utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f"the sampler has ended ({how})" + (f": {one_line(last)[:-1]}" if last else "")
