"""What a person handed to a stage (data, init, ref, reward, prompts): recorded by name and hash, and read again.

Plain dictionaries as run.toml holds them: `data` is a path, `data_sha256` its hash. What follows from a change is
planning.py's business.
"""

from collections.abc import Mapping
from pathlib import Path

from engine.errors import ConfigError, FileError
from engine.pipeline import INPUTS
from engine.references import is_pocket, resolve_reference
from engine.runtoml import hash_path

HASH = "_sha256"


def handed(
    target: str, typed: Mapping[str, str], inputs: Mapping[str, dict[str, str]], home: Path
) -> dict[str, dict[str, str]]:
    """All recorded `inputs` with what was `typed` for `target` now.

    Raises: ConfigError for an option that the target does not take; FileError as `input_entry`.
    """
    entries = dict(inputs.get(target, {}))
    for name, value in typed.items():
        if name not in INPUTS.get(target, ()):
            raise ConfigError(f"slmctl {target} takes no --{name}")
        entries.pop(name + HASH, None)
        entries |= input_entry(name, value, home)
    return {**inputs, target: entries} if entries else dict(inputs)


def input_entry(name: str, value: str, home: Path) -> dict[str, str]:
    """One input as it is recorded: a file by its absolute path and hash, a model by its reference and hash.

    Raises: FileError for a file or model that is not there; ConfigError for a reference that is not understood.
    """
    path = Path(value).expanduser()
    if path.exists():
        path = path.resolve()
        return {name: str(path), name + HASH: hash_path(path)}
    if name in ("data", "prompts"):
        raise FileError(f"--{name}: there is no file {value}")
    if is_pocket(value):
        return {name: value}
    return {name: value, name + HASH: hash_path(resolve_reference(value, home))}


def read_again(given: Mapping[str, str], home: Path) -> dict[str, str]:
    """The same inputs with the hashes that they have now. Raises: as `input_entry`."""
    entries: dict[str, str] = {}
    for name, value in given.items():
        if not name.endswith(HASH):
            entries |= input_entry(name, value, home)
    return entries


def changed_inputs(given: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of those inputs of `now` that are other ones than were `given`: by hash, or by name without one."""
    names = [name for name in now if not name.endswith(HASH)]
    return [name for name in names if now.get(name + HASH, now[name]) != given.get(name + HASH, given.get(name))]
