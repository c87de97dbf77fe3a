"""The sampler child: `python -m slmctl.worker`, requests on stdin, replies on stdout, anything else on stderr.

Here is only what must be settled before torch is loaded: which descriptor is whose, threads, and when to end.
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
from slmctl.worker.protocol import Reply, to_line


def main() -> NoReturn:
    """Serves until stdin ends, and with it this process."""
    parser = argparse.ArgumentParser(prog="slmctl.worker", description=__doc__)
    parser.add_argument("--threads", type=int)
    for name in ("template", "dtype", "device"):
        parser.add_argument(f"--{name}")
    given = vars(parser.parse_args())
    requests, replies = _own_descriptors()
    lines = _lines_of(requests)
    try:
        threads.apply(given["threads"] if given["threads"] is not None else _fewer_than_cores(), shared=True)
    except EngineError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    from slmctl.worker.serve import Server
    from slmctl.worker.shelf import Shelf

    Server(lines, _sender(replies), Shelf(given)).run()


def _own_descriptors() -> tuple[IO[bytes], IO[bytes]]:
    """Files for requests and replies that no library can read or write by mistake: descriptor 0 is empty now, and what
    is printed goes to stderr."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(replies, "wb")


def _lines_of(requests: IO[bytes]) -> SimpleQueue[str]:
    """The lines as they come. Their end ends the process, in the middle of whatever it does."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in requests:
            lines.put(line.decode("utf-8", errors="replace"))
        os._exit(0)

    threading.Thread(target=read, name="requests", daemon=True).start()
    return lines


def _sender(replies: IO[bytes]) -> Callable[[Reply], None]:
    def send(reply: Reply) -> None:
        try:
            replies.write(to_line(reply).encode())
            replies.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody is left to hear it

    return send


def _fewer_than_cores() -> int | None:
    """One thread fewer than there are cores, since others need them too; None where the user has said how many."""
    return None if "OMP_NUM_THREADS" in os.environ else max(1, threads.available_cores() - 1)


if __name__ == "__main__":
    main()
