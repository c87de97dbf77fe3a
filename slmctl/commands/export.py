"""`slmctl export`: labels as rows for other programs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.core.errors import DataError
from slmctl.commands.rows import new_file, write_files
from slmctl.console.printing import say
from slmctl.console.safe import one_line

HELP = """\b
slmctl export --db runs/tiny/labels.db --format trl --out preferences.jsonl
slmctl export --db runs/tiny/labels.db --format sft --annotator ann > edits.jsonl

Formats: trl has {prompt, chosen, rejected} rows, for DPO and reward models; hh has {chosen, rejected} transcripts; kto
has {prompt, completion, label}; sft has {prompt, completion} of edited responses; rankings has {prompt, responses,
ranking, strength, flagged, note}, the only format with flags and notes. A ranking becomes all of its pairs. Text
prompts stay text, which TRL formats without a chat template; conversations stay conversations.

Skipped labels are counted on stderr, with the reason. Existing files are not overwritten. slmctl itself trains on the
database directly: slmctl rm --data runs/tiny/labels.db."""


def export_labels(
    db: Annotated[str, typer.Option("--db", metavar="FILE.db", help="Label database.")],
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="trl, hh, kto, sft or rankings.")],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.jsonl", help="Output file (default: stdout).")
    ] = None,
    annotator: Annotated[
        list[str] | None,
        typer.Option("--annotator", metavar="NAME", help="Export only this annotator's labels; can be repeated."),
    ] = None,
) -> None:
    """Prints or writes the rows of a label database."""
    from engine.data.labels.export import export_rows
    from engine.data.labels.store import read_database

    target = None if out is None else new_file("--out", out)
    labels = read_database(Path(db).expanduser())
    done = export_rows(labels, form, annotator or ())
    reasons = [f"skipped {count}: {reason}" for reason, count in done.left_out.most_common()]
    if not done.rows:
        raise DataError(f"{db} gives no {form} rows: {'; '.join(reasons) or 'it has no labels'}")
    text = "".join(json.dumps(row) + "\n" for _, row in done.rows)
    if target is None:
        print(text, end="", flush=True)
    else:
        write_files([(target, text)])
    labeled = len({number for number, _ in done.rows})
    for line in [f"{one_line(out or db)}: {form}, labels: {labeled}, rows: {len(done.rows)}", *reasons]:
        say(line)
