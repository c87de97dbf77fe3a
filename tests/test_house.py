"""Rules that no other tool checks: every module has a layer, no heavy imports, no shared or long names."""

import ast
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests import lines
from tests.check import command_of

ROOT = Path(__file__).parents[1]
LIGHT = (
    *("engine.core", "engine.data", "engine.rundir", "engine.pocket"),
    *(f"engine.run.{name}" for name in ("pipeline", "inputs", "checks", "planning")),
    *("slmctl.cli", "slmctl.console", "slmctl.runs", "slmctl.watch", "slmctl.chat", "slmctl.label", "slmctl.plots"),
    "slmctl.tui",
)
HEAVY = {"torch", "numpy", "datasets", "pyarrow", "transformers", "tokenizers", "safetensors"}
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), name + "."):
        importlib.import_module(found.name)
print(*sys.modules)
"""

LONGEST_TEST_NAME = 65
# Modules may share a name where it has one meaning:
SHARED_MODULES = {
    *("chat", "data", "eval", "export", "guide", "label", "run", "runs", "stages", "watch"),  # a command, and its topic
    *("dialogs", "messages", "screen"),  # those of each mode of the playground
}


@pytest.mark.parametrize("unlisted", ["engine/attic/__init__.py", "slmctl/attic.py"])
def test_contracts_fail_for_an_unlisted_module(unlisted: str, tmp_path: Path) -> None:
    for package in ("engine", "slmctl", "presets"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / unlisted).parent.mkdir(exist_ok=True)
    (tmp_path / unlisted).write_text('"""A module that no layer lists."""\n')
    checked = subprocess.run(command_of("contracts"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "not listed as layers" in checked.stdout and "attic" in checked.stdout


def test_modules_without_torch_load_nothing_heavy() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, *LIGHT]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"engine.data.readers", "slmctl.tui.chat.screen"} <= set(loaded)
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("package", lines.PACKAGES)
def test_no_modules_import_each_other(package: str) -> None:
    graph = grimp.build_graph(package, cache_dir=None)  # with imports in functions and for type checking
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the modules


def sources() -> Iterator[tuple[Path, str]]:
    """Path and text of each Python file of the two packages."""
    for package in lines.PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), path.read_text("utf-8")


def used_twice(names: Iterator[tuple[str, Path]]) -> dict[str, list[str]]:
    """The names found in more than one place, with the places."""
    places = defaultdict(list)
    for name, path in names:
        places[name].append(str(path))
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_two_modules_share_a_name() -> None:
    paths = [path for path, _ in sources()]
    modules = [(path.stem, path) for path in paths if not path.stem.startswith("__")]
    packages = [(path.parent.name, path.parent) for path in paths if path.stem == "__init__"]
    shared = used_twice(iter(modules + packages))
    assert not {name: found for name, found in shared.items() if name not in SHARED_MODULES}


def test_no_two_public_classes_share_a_name() -> None:
    classes = (
        (node.name, path)
        for path, source in sources()
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not used_twice(classes)


def test_names_of_tests_are_short() -> None:
    names = re.findall(r"def (test_\w+)", "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")))
    assert not [name for name in names if len(name) > LONGEST_TEST_NAME]


def test_lines_are_counted_without_docstrings_and_comments() -> None:
    text = '"""Job\nof the file."""\n\nSQL = """one\ntwo"""  # trailing\n\n'
    function = 'def name():\n    """What."""\n    # why\n    pass\n'
    assert lines.count(text + function) == lines.Lines(files=1, code=4, comments=2)
