"""Model directories of the Hugging Face hub: fetched once into the hub's own cache, and taken from there after that.

Only what a model opens with is fetched: configuration, tokenizer, template and weights in safetensors, no code and no
pickles. Datasets of the hub are tables.py's business.
"""

import logging
import re
import socket
import sys
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from engine.errors import CheckpointError, ConfigError

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
    """The directory of the hub's model `hf:ORG/NAME[@REVISION]` on this machine, fetched where it is not there yet.

    The hub is asked once a process for what is newest; where it cannot be reached, what was fetched before counts.

    Raises: ConfigError for a name that is none; CheckpointError where there is no such model, or no way to it.
    """
    found = REPOSITORY.fullmatch(reference)
    if found is None:
        raise ConfigError(f"{reference!r} is no name of a hub model; write hf:ORG/NAME or hf:ORG/NAME@REVISION")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    reach_hub()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        fetched = snapshot_download(
            found["name"], revision=found["revision"], allow_patterns=WANTED, ignore_patterns=UNWANTED
        )
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub has no model {found['name']}, or it is private: log in with `hf auth login`"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(f"the hub cannot be reached, and {reference} was not fetched before") from error
    except Exception as error:  # the hub, its answers, the disk and a network in between: whatever fails there is said
        raise CheckpointError(f"the hub model {reference} cannot be had: {first_line(error)}") from error
    return Path(fetched)


def reach_hub() -> bool:
    """Whether the hub can be reached from here, as far as is known: behind a proxy it is taken for granted.

    Where it cannot, its library looks into its cache at once from now on: by itself it tries for half a minute first.
    """
    from huggingface_hub import constants

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each try would be a line; the last one says it all
    hub = urlsplit(constants.ENDPOINT)
    try:
        if not getproxies():
            socket.create_connection((hub.hostname or "", hub.port or PORTS.get(hub.scheme, 443)), REACH_S).close()
    except OSError:
        constants.HF_HUB_OFFLINE = True
    return not constants.HF_HUB_OFFLINE


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
