"""The sampler child: `python -m slmctl.worker`, requests on stdin, replies on stdout, everything else on stderr.

This file does what must happen before torch is loaded: file descriptors, threads, and when to end.
"""

import argparse
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, NoReturn

from engine.core import threads
from engine.core.errors import EngineError
from slmctl.worker.protocol import WorkerReply, to_line


def main() -> NoReturn:
    """Serves until stdin ends, which ends the process."""
    parser = argparse.ArgumentParser(prog="slmctl.worker", description=__doc__)
    parser.add_argument("--threads", type=int)
    for name in ("template", "dtype", "device"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    requests, replies = _private_descriptors()
    lines = _read_lines(requests)
    try:
        threads.apply(options.threads if options.threads is not None else _default_threads(), shared=True)
    except EngineError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    from engine.run.inference import ModelLoader
    from slmctl.worker.model_cache import ModelCache
    from slmctl.worker.server import Server

    models = ModelCache(lambda: ModelLoader(options.device, options.template, options.dtype))
    Server(lines, _sender(replies), models).run()


def _private_descriptors() -> tuple[IO[bytes], IO[bytes]]:
    """Files for requests and replies that no library can read or write by mistake: descriptor 0 is empty afterwards,
    and prints go to stderr."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(replies, "wb")


def _read_lines(requests: IO[bytes]) -> SimpleQueue[str]:
    """The lines as they arrive. Their end ends the process, whatever it is doing."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in requests:
            lines.put(line.decode("utf-8", errors="replace"))
        os._exit(0)

    threading.Thread(target=read, name="requests", daemon=True).start()
    return lines


def _sender(replies: IO[bytes]) -> Callable[[WorkerReply], None]:
    def send(reply: WorkerReply) -> None:
        try:
            replies.write(to_line(reply).encode())
            replies.flush()
        except BrokenPipeError:
            os._exit(0)  # the parent has ended

    return send


def _default_threads() -> int | None:
    """One thread fewer than there are cores, to leave one for the screen; None if OMP_NUM_THREADS is set."""
    return None if "OMP_NUM_THREADS" in os.environ else max(1, threads.available_cores() - 1)


if __name__ == "__main__":
    main()
