"""A process with torch already loaded that forks one child per command and can kill it at an exact file operation.

Each command is a JSON line on stdin: arguments, out, err, log (for file operations, optional) and kill. The answer is
two lines, the pid of the child and, after it has ended, its exit code (negative for a signal). `kill` is [pattern, nth,
after]: the child gets SIGKILL just before the file operation `after` places past the `nth` that matches the pattern.
"""

import importlib
import json
import os
import re
import signal
import sys
from typing import Any, NoReturn

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WATCHED = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def operation(name: str, arguments: tuple[Any, ...]) -> str | None:
    """The file operation of an audit event, such as "rename base/final", or None."""
    if name == "open":
        path, mode, flags = arguments
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        writes = flags & WRITING if mode is None else any(letter in mode for letter in "wxa+")
        name = "os.write"
        if not text or not writes:
            return None
    elif name in WATCHED:
        text = os.fspath(arguments[1 if name == "os.rename" else 0])
    else:
        return None
    text = text.decode() if isinstance(text, bytes) else str(text)
    if "status.json" in text or text.startswith(("/dev", "/proc", "/sys")):  # the heartbeat comes when it likes
        return None
    return f"{name.split('.')[1]} {'/'.join(text.split('/')[-2:])}"


class Trap:
    """Counts file operations and kills its own process at the chosen one."""

    def __init__(self, kill: tuple[str, int, int] | None, log: str | None) -> None:
        self.pattern, self.matches, self.after = kill or ("", 0, 0)
        self.log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.armed = kill is not None

    def __call__(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        words = operation(name, arguments)
        if words is None:
            return
        if self.log is not None:
            os.write(self.log, f"{words}\n".encode())
        if not self.armed:
            return
        if self.matches == 0:
            self.after -= 1
        elif re.search(self.pattern, words):
            self.matches -= 1
        if self.matches == 0 and self.after == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def child(command: dict[str, Any]) -> NoReturn:
    """Runs slmctl with these arguments in this process."""
    for number, name, mode in ((0, os.devnull, os.O_RDONLY), (1, command["out"], None), (2, command["err"], None)):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC if mode is None else mode, 0o644)
        os.dup2(handle, number)
    from slmctl.cli import main

    sys.addaudithook(Trap(command.get("kill"), command.get("log")))
    try:
        main(command["arguments"])
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 0)
    os._exit(0)


def serve() -> None:
    """Forks a child for each command until stdin ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    for module in ("torch._dynamo", "engine.run.driver", "slmctl.cli"):  # loaded before the first fork
        importlib.import_module(module)
    serve()
