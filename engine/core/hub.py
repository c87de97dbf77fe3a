"""Model directories of the Hugging Face hub, in the hub's own cache: what is not there yet is fetched.

Only what a model opens with is fetched: configuration, tokenizer, template and weights in safetensors, no code and no
pickles. Datasets of the hub are tables.py's business.
"""

import logging
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from engine.core.errors import CheckpointError, ConfigError

HUB = "hf:"
REPOSITORY = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
WANTED, UNWANTED = ["*.json", "*.jinja", "*.safetensors"], ["*/*"]
REACH_S = 3.0
PORTS = {"http": 80, "https": 443}


def is_hub(name: str) -> bool:
    """Whether a name means something on the hub."""
    return name.startswith(HUB)


@cache
def hub_directory(reference: str) -> Path:
    """The directory of the hub's model `hf:ORG/NAME[@REVISION]` on this machine, what is missing of it fetched first.

    The hub is asked once a process for what is newest; where it cannot be reached, what was fetched before counts. The
    directory is named after its commit.

    Raises: ConfigError for a name that is none; CheckpointError where there is no such model, or no way to it.
    """
    name, revision = _parts(reference)
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        with hub_in_reach():
            found = snapshot_download(name, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED)
    except errors.GatedRepoError as error:
        terms = f"accept its terms at https://huggingface.co/{name}, then log in with `hf auth login`"
        raise CheckpointError(f"the hub model {name} is gated: {terms}") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(f"the hub has no model {name}, or it is private: log in with `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"the hub model {name} has no revision {revision!r}") from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(f"the hub cannot be reached, and {reference} was not fetched before") from error
    except Exception as error:  # the hub, its answers, the disk and a network in between: whatever fails there is said
        raise CheckpointError(f"the hub model {reference} cannot be had: {first_line(error)}") from error
    return Path(found)


def pinned(reference: str) -> str:
    """The name under which a hub model stays what it is now. Raises: as `hub_directory`."""
    return f"{HUB}{_parts(reference)[0]}@{hub_directory(reference).name}"


def _parts(reference: str) -> tuple[str, str | None]:
    """ORG/NAME and the revision, if one is named. Raises: ConfigError for a name that is none."""
    found = REPOSITORY.fullmatch(reference)
    if found is None:
        raise ConfigError(f"{reference!r} is no name of a hub model; write hf:ORG/NAME or hf:ORG/NAME@REVISION")
    return found["name"], found["revision"]


@contextmanager
def hub_in_reach() -> Iterator[bool]:
    """Gives whether the hub can be reached from here; where it cannot, its library looks into its cache at once for as
    long as this lasts: by itself it tries for half a minute first. Behind a proxy the hub is taken to be reachable."""
    from huggingface_hub import constants

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each try would be a line; the last one says it all
    wish = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = wish or not _answers(constants.ENDPOINT)
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = wish


def _answers(endpoint: str) -> bool:
    from urllib.request import getproxies  # 17 ms, which only those who ask the hub need to wait

    hub = urlsplit(endpoint)
    if getproxies().keys() & {hub.scheme, "all"}:
        return True
    try:
        socket.create_connection((hub.hostname or "", hub.port or PORTS.get(hub.scheme, 443)), REACH_S).close()
    except OSError:
        return False
    return True


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
