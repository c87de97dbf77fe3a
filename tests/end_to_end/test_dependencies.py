"""What a run imports comes with slmctl's own requirements, not with those of its development."""

import json
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.end_to_end.conftest import Nursery, arguments, environ

SCRIPT = """
import json, sys
from slmctl.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def required_by(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """The distributions that come with one, its own name and those of `extras` included."""
    found = set[tuple[str, frozenset[str]]]()
    waiting = [(name, extras)]
    while waiting:
        known = waiting.pop()
        if known in found:
            continue
        found.add(known)
        for text in distribution(known[0]).requires or ():
            wanted = Requirement(text)
            if not wanted.marker or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *known[1])):
                waiting.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    return {name for name, _ in found}


def test_a_run_needs_nothing_but_its_requirements(nursery: Nursery) -> None:
    command = [sys.executable, "-c", SCRIPT, *arguments("bare", "pretrain", "--max-steps", "2")]
    ended = subprocess.run(command, env=environ(nursery.home), capture_output=True, text=True, check=True)
    loaded = json.loads(ended.stdout.splitlines()[-1])
    owners = packages_distributions()
    used = {canonicalize_name(owner) for module in loaded for owner in owners.get(module, ())}
    assert {"torch", "numpy", "safetensors"} <= used
    assert used - required_by("slmctl") == set()
