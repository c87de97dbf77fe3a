"""Prints code lines and the share of comments per package: `python -m tests.lines [ROOT]`.

A code line has at least one token that is neither a comment nor part of a docstring. Lines of a string that is not a
docstring count as code. A line with code and a trailing comment counts as both.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("engine", "slmctl")
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Lines:
    """Lines of one file or of many together."""

    files: int
    code: int
    comments: int

    def __add__(self, other: "Lines") -> "Lines":
        return Lines(self.files + other.files, self.code + other.code, self.comments + other.comments)

    @property
    def comment_share(self) -> float:
        """Comment lines for each code line."""
        return self.comments / self.code if self.code else 0.0


def docstring_lines(source: str) -> set[int]:
    """The numbers of all lines of docstrings: of the module, its classes and functions, and of attributes."""
    bodies = [getattr(node, "body", None) for node in ast.walk(ast.parse(source))]
    strings = [
        statement
        for body in bodies
        if isinstance(body, list)
        for statement in body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    ]
    return {number for string in strings for number in range(string.lineno, (string.end_lineno or string.lineno) + 1)}


def count(source: str) -> Lines:
    """The lines of one file."""
    code, comments = set[int](), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return Lines(1, len(code - docstring_lines(source)), len(comments))


def count_folder(folder: Path, pattern: str = "**/*.py") -> Lines:
    """The lines of all Python files in a folder."""
    files = sorted(folder.glob(pattern))
    return sum((count(file.read_text("utf-8")) for file in files), Lines(0, 0, 0))


def rows(root: Path) -> Iterator[tuple[str, Lines]]:
    """Each package with its subpackages, then the total."""
    for package in PACKAGES:
        yield f"{package}/*.py", count_folder(root / package, "*.py")
        for folder in sorted(path for path in (root / package).iterdir() if any(path.glob("*.py"))):
            yield f"{package}/{folder.name}", count_folder(folder)
        yield package, count_folder(root / package)
    yield "total", sum((count_folder(root / package) for package in PACKAGES), Lines(0, 0, 0))


def main() -> None:
    """Prints one row per package."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    print(f"{'package':<22}{'files':>6}{'code':>8}{'comments':>10}")
    for name, lines in rows(root):
        print(f"{name:<22}{lines.files:>6}{lines.code:>8}{lines.comment_share:>10.1%}")


if __name__ == "__main__":
    main()
