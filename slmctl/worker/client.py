"""The sampler that screens use: models in a child process, started when needed, accessed through asyncio. Torch-free.

protocol.py defines the messages to the child.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.core.errors import CheckpointError, ConfigError, EngineError, one_line
from engine.rundir.references import is_function, is_model, resolve_reference
from slmctl.worker.protocol import (
    CancelRequest,
    Done,
    Failed,
    LoadedModel,
    LoadRequest,
    OnText,
    SampledResponse,
    SampleRequest,
    SamplerGone,
    TextChunk,
    WorkerReply,
    WorkerRequest,
    from_line,
    response_from_json,
    to_line,
)

LONGEST_LINE = 2**26
EXIT_TIMEOUT_S = 2.0  # before a child that is asked to end is killed
STDERR_KEPT = 4096
OPTIONS = ("threads", "template", "dtype", "device")
VALUE = "/value"  # suffix of a policy's name that means its value network


class Child:
    """A running child. Requests are numbered, and replies are matched by number."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process, self._stdin = process, process.stdin
        self._count = 0
        self._pending: dict[int, tuple[asyncio.Future[Any], OnText | None]] = {}  # until their last reply
        self.loads: dict[tuple[str, bool], tuple[object, asyncio.Future[Any]]] = {}
        self._stderr = b""  # the end of it
        self.ended = ""  # why it ended, once it has
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
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def send(
        self, request: LoadRequest | SampleRequest, on_text: OnText | None = None
    ) -> tuple[int, asyncio.Future[Any]]:
        """Sends a request; returns its number, which replaces its `id`, and the future result of its Done.

        The result raises: EngineError if the request failed; SamplerGone if the child has ended.
        """
        self._count += 1
        result = asyncio.get_running_loop().create_future()
        if self.ended:
            _fail(result, SamplerGone(self.ended))
        else:
            self._pending[self._count] = result, on_text
            self._write(replace(request, id=self._count))
        return self._count, result

    def cancel(self, number: int) -> None:
        """Asks the child to end a request; its result is what exists then."""
        if number in self._pending:
            self._count += 1
            self._write(CancelRequest(number, self._count))

    def forget(self, number: int) -> None:
        """Cancels a request whose result is not needed."""
        self.cancel(number)
        self._pending.pop(number, None)

    async def load(self, request: LoadRequest, version: object) -> LoadedModel:
        """The result of a LoadRequest, sent once for all callers, and again if it failed or `version` has changed.

        Raises: as the result of `send`.
        """
        key = (request.name, request.scorer)
        if key not in self.loads or self.loads[key][0] != version or _has_failed(self.loads[key][1]):
            self.loads[key] = (version, self.send(request)[1])
        return LoadedModel(**await asyncio.shield(self.loads[key][1]))

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
        if reply.id not in self._pending:
            return
        result, on_text = self._pending[reply.id]
        if isinstance(reply, TextChunk):
            if on_text is not None:  # through the event loop, so that its exceptions do not end this task
                asyncio.get_running_loop().call_soon(on_text, reply.row, reply.text)
            return
        del self._pending[reply.id]
        if isinstance(reply, Failed):
            error = EngineError(reply.error)
            error.exit_code = reply.exit_code
            _fail(result, error)
        elif isinstance(reply, Done) and not result.done():
            result.set_result(reply.result)

    def _end(self, why: str) -> None:
        """Fails all pending requests; the first reason is kept."""
        self.ended = self.ended or why
        for result, _ in self._pending.values():
            _fail(result, SamplerGone(self.ended))
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
    lines = [line for line in stderr.decode("utf-8", errors="replace").split("\n") if line.strip()]
    return f"the sampler has ended ({how})" + (f": {one_line(lines[-1])[:-1]}" if lines else "")


class ChildSampler:
    """A Sampler (protocol.py) whose models live in a child process.

    `home` is the runs folder for names such as tiny:ppo; of the options of a command, `options` may hold the four that
    OPTIONS names, None for the default.
    """

    def __init__(self, home: Path, options: Mapping[str, object] | None = None) -> None:
        self._home = home
        given = {name: (options or {}).get(name) for name in OPTIONS}
        self._options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        self._child: Child | None = None
        self._starting = asyncio.Lock()
        self._loaded: dict[tuple[str, bool], tuple[LoadRequest, object]] = {}  # to load again in another child

    async def load(self, name: str, scorer: bool = False) -> LoadedModel:
        """Opens a model or scorer, once as long as its files are the same.

        MODEL/value, as a scorer, is the value network saved with a policy. Raises: EngineError for a name that cannot
        be opened; SamplerGone.
        """
        request, version = await asyncio.to_thread(self._resolve, name, scorer)
        loaded = await (await self.child_with()).load(request, version)
        self._loaded[(name, scorer)] = request, version
        return loaded

    def sample(self, request: SampleRequest, on_text: OnText | None = None) -> "ChildSampleTask":
        """Starts to generate responses; `on_text` receives their text as it grows."""
        return ChildSampleTask(self, replace(request, stream=on_text is not None), on_text)

    async def close(self) -> None:
        """Ends the child; pending requests fail."""
        async with self._starting:
            child, self._child = self._child, None
        if child is not None:
            await child.close()

    async def child_with(self, *keys: tuple[str, bool]) -> Child:
        """A running child, in which those of the models that were loaded in any child before are loaded.

        Raises: SamplerGone if no child can be started.
        """
        async with self._starting:
            if self._child is None or self._child.ended:
                self._child = await Child.start(self._options)
            child = self._child
        for key in keys:
            if key in self._loaded and key not in child.loads:
                await child.load(*self._loaded[key])
        return child

    def _resolve(self, name: str, scorer: bool) -> tuple[LoadRequest, object]:
        """The request that loads a name, and an object that changes when its files are replaced."""
        if scorer and is_function(name):
            raise ConfigError(f"the scorer {name} is code, which the playground does not run; use `slmctl score`")
        if scorer and not is_model(name):
            return LoadRequest(name, "", scorer), None
        directory = self._directory(name, scorer).resolve()
        found = directory.stat()
        return LoadRequest(name, str(directory), scorer), (directory, found.st_ino, found.st_mtime_ns)

    def _directory(self, name: str, scorer: bool) -> Path:
        if not scorer or not name.endswith(VALUE) or Path(name).expanduser().is_dir():
            return resolve_reference(name, self._home)
        policy = name.removesuffix(VALUE)
        directory = resolve_reference(policy, self._home) / VALUE[1:]
        if not directory.is_dir():
            raise CheckpointError(f"no value network was saved with {policy}")
        return directory


class ChildSampleTask:
    """A SampleTask (protocol.py) of a child."""

    def __init__(self, sampler: ChildSampler, request: SampleRequest, on_text: OnText | None) -> None:
        self._sent: tuple[Child, int] | None = None
        self._stopped = False
        self._task = asyncio.create_task(self._run(sampler, request, on_text), name=f"sampling from {request.model}")
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # else asyncio warns

    async def responses(self) -> list[SampledResponse]:
        """The responses, once all have ended. Cancelling the caller cancels the request.

        Raises: EngineError if the request failed; SamplerGone.
        """
        return await self._task

    def stop(self) -> None:
        """Ends it now; `responses` then returns what has been generated so far."""
        self._stopped = True
        if self._sent is not None:
            child, number = self._sent
            child.cancel(number)

    async def _run(
        self, sampler: ChildSampler, request: SampleRequest, on_text: OnText | None
    ) -> list[SampledResponse]:
        names = ((request.model, False), (request.ref, False), (request.scorer, True), (request.value, True))
        child = await sampler.child_with(*names)
        number, result = child.send(request, on_text)
        self._sent = child, number
        if self._stopped:
            self.stop()
        try:
            return [response_from_json(row) for row in await result]
        except asyncio.CancelledError:
            child.forget(number)
            raise
