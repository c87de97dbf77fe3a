"""`slmctl export`: labels that people made, as rows for other programs."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from slmctl.commands.convert import new_file, write_files
from slmctl.console.printing import say
from slmctl.console.safe import one_line

HELP = """\b
slmctl export --db runs/tiny/labels.db --format trl --out preferences.jsonl
slmctl export --db runs/tiny/labels.db --format sft --annotator ann > edits.jsonl

trl is {prompt, chosen, rejected}, for DPO and reward models; hh {chosen, rejected}, as transcripts; kto {prompt,
completion, label}; sft {prompt, completion}, of what was edited; rankings {prompt, responses, ranking, strength,
flagged, note}, the one form that holds flags and notes. Of a ranking every pair counts. A prompt that is text stays
text, around which TRL puts no chat template; a conversation stays one.
What is left out is counted on stderr, with the reason. Existing files are not overwritten.
Our own stages need no export: slmctl rm --data runs/tiny/labels.db."""


def export(
    db: Annotated[str, typer.Option("--db", metavar="FILE.db", help="The label database.")],
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="trl, hh, kto, sft or rankings.")],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.jsonl", help="Where the rows go (default: stdout).")
    ] = None,
    annotator: Annotated[
        list[str] | None,
        typer.Option("--annotator", metavar="NAME", help="Only what this person said; repeatable."),
    ] = None,
) -> None:
    """Prints or writes the rows of a label database."""
    from engine.core.errors import DataError
    from engine.data.labels.export import export_rows
    from engine.data.labels.store import read_database

    target = None if out is None else new_file("--out", out)
    labels = read_database(Path(db).expanduser())
    done = export_rows(labels, form, annotator or ())
    reasons = [f"{count} left out: {reason}" for reason, count in done.left_out.most_common()]
    if not done.rows:
        raise DataError(f"{db} gives no row of {form}: {'; '.join(reasons) or 'there are no labels'}")
    text = "".join(json_module.dumps(row) + "\n" for _, row in done.rows)
    if target is None:
        print(text, end="", flush=True)
    else:
        write_files([(target, text)])
    labelled = len({number for number, _ in done.rows})
    for line in [f"{one_line(out or db)}: {form}, labels: {labelled}, rows: {len(done.rows)}", *reasons]:
        say(line)
