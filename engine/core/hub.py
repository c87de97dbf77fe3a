"""Models of the Hugging Face hub, downloaded into the hub's own cache.

Only what a model opens with is downloaded: configuration, tokenizer, template and weights in safetensors, no code and
no pickles. Datasets are the business of data/datasets.py.
"""

import logging
import re
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from engine.core.errors import CheckpointError, ConfigError

HUB = "hf:"
REPOSITORY = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
WANTED, UNWANTED = ["*.json", "*.jinja", "*.safetensors"], ["*/*"]
REACH_S = 3.0  # without an answer, after which the hub counts as unreachable


def is_hub(name: str) -> bool:
    """Whether a name refers to the hub."""
    return name.startswith(HUB)


@cache
def hub_directory(reference: str) -> Path:
    """The local directory of a model `hf:ORG/NAME[@REVISION]`, named after its commit; downloads what is missing.

    The hub is asked for the newest commit once a process. If it cannot be reached, an earlier download is used.

    Raises: ConfigError for a malformed name; CheckpointError if the model does not exist or cannot be downloaded.
    """
    name, revision = _parts(reference)
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    problem = why_unreachable(name, revision, "model")
    try:
        found = snapshot_download(
            name,
            revision=revision,
            allow_patterns=WANTED,
            ignore_patterns=UNWANTED,
            etag_timeout=REACH_S,
            local_files_only=problem is not None,
        )
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(_refusal(reference, problem)) from error
    except Exception as error:  # the hub, its answers, the disk and a network in between
        raise CheckpointError(f"cannot download the hub model {reference}: {first_line(error)}") from error
    return Path(found)


def _refusal(reference: str, problem: Exception | None) -> str:
    """The message for a model that the hub does not give and that was not downloaded before."""
    from huggingface_hub import errors

    name, revision = _parts(reference)
    if isinstance(problem, errors.GatedRepoError):
        terms = f"accept its terms at https://huggingface.co/{name}, then log in with `hf auth login`"
        return f"the hub model {name} is gated: {terms}"
    if isinstance(problem, errors.RepositoryNotFoundError):
        return f"the hub has no model {name}, or it is private: log in with `hf auth login`"
    if isinstance(problem, errors.RevisionNotFoundError):
        return f"the hub model {name} has no revision {revision!r}"
    return f"cannot reach the Hugging Face hub, and {reference} was not downloaded before"


def pinned(reference: str) -> str:
    """The reference with the commit that it means now. Raises: as `hub_directory`."""
    return f"{HUB}{_parts(reference)[0]}@{hub_directory(reference).name}"


def _parts(reference: str) -> tuple[str, str | None]:
    """ORG/NAME and the revision, if one is given. Raises: ConfigError for a malformed name."""
    found = REPOSITORY.fullmatch(reference)
    if found is None:
        raise ConfigError(f"{reference!r} is not a hub model; write hf:ORG/NAME or hf:ORG/NAME@REVISION")
    return found["name"], found["revision"]


def why_unreachable(repository: str, revision: str | None, kind: Literal["model", "dataset"]) -> Exception | None:
    """Why the hub says nothing about a repository now; None if it answers. Its cache can be used all the same."""
    from huggingface_hub import HfApi

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each of its retries would be a line
    try:
        HfApi().repo_info(repository, revision=revision, repo_type=kind, timeout=REACH_S)
    except Exception as error:  # of this library, of the HTTP client it uses, or of the system
        return error
    return None


def first_line(error: Exception) -> str:
    """The type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
