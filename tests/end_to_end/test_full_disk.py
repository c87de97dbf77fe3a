"""A disk that is full: one sentence, nothing lost, and the same command goes on once there is room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.rundir.directory import STAGES, RunDir
from tests.end_to_end.conftest import Nursery, Reference, arguments, assert_same_files, ended, result_of, rows, slmctl

SMALL, LARGE = "400k", "64m"


def mount(path: Path, *options: str) -> bool:
    """Whether a disk in memory could be mounted on `path`, which only some users may."""
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(nursery: Nursery) -> Iterator[Path]:
    """A run directory that is a disk of its own, too small for a run."""
    path = nursery.home / "crowded"
    path.mkdir()
    if not mount(path, f"size={SMALL}"):
        pytest.skip("this user may not mount a disk in memory")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_folder_that_cannot_be_written_is_one_sentence(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    in_a_file = slmctl(tmp_path / "file", *arguments("any", "pretrain"))
    outcome = ended(in_a_file)
    assert (outcome.code, outcome.err.count("\n")) == (3, 1) and "Not a directory" in outcome.err
    if not mount(tmp_path, "ro"):
        pytest.skip("this user may not mount a disk in memory")
    try:
        outcome = ended(slmctl(tmp_path / "runs", *arguments("any", "pretrain")))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (outcome.code, outcome.err.count("\n")) == (3, 1) and "Read-only file system" in outcome.err


def test_a_full_disk_is_one_sentence_and_loses_nothing(nursery: Nursery, reference: Reference, disk: Path) -> None:
    run = RunDir(disk)
    outcome = nursery.run(*arguments("crowded"))
    assert outcome.code == 3, outcome.err
    assert outcome.err.count("\n") == 1
    assert "no space left on device" in outcome.err and "rerun the command" in outcome.err
    assert not list(disk.rglob(".*.writing")), "what could not be written whole is given back"
    assert mount(disk, "remount", f"size={LARGE}")
    outcome = nursery.run(*arguments("crowded"))
    assert outcome.code == 0, outcome.err
    for stage in STAGES[:-1]:
        assert_same_files(reference.run.stage_dir(stage), run.stage_dir(stage))
        said = [row for row in rows(run.read_events(), stage) if row["event"] != "RunFailed"]
        assert said == rows(reference.run.read_events(), stage)
    assert result_of(run) == result_of(reference.run)
