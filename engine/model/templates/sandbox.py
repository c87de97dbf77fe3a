"""Chat templates, which come from strangers: compiled in a sandbox, and rendered within a bounded amount of work.

Work is counted, not timed: each step of a loop, call, filter, operator and output burns fuel by the size of what it
reads and, before it is made, of what it would make. So a template that loops or floods is refused at the same place on
every machine, and memory is bounded with it. Nothing is folded at compile time, filters and methods whose cost is not
known here do not exist, and the syntax tree is rewritten where jinja2 has no hook. Which template a tokenizer has, and
what it is given, is tokenizer.py's job. A template is rendered by one thread at a time.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from types import GeneratorType
from typing import Any

from jinja2 import pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace

from engine.core.errors import CheckpointError, one_line
from engine.model.templates.meter import CHARACTERS, FUEL, FUEL_PER_WEIGHT, Meter, length, nothing, weight
from engine.model.templates.syntax import Metering

LONGEST_SOURCE = 200_000  # characters; templates in use have up to 30,000
LARGEST_BITS = 4096  # of a whole number
WIDEST = 999  # width or precision in a format string
METHODS = (
    "capitalize casefold count endswith find format index isalnum isalpha isdecimal isdigit islower isnumeric isspace "
    "istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition rsplit "
    "rstrip split splitlines startswith strip swapcase title upper"
)  # of texts
DICTIONARY_METHODS = "get items keys values"
OBJECTS = (LoopContext, Macro, Namespace, Undefined)  # jinja2's own, whose attributes cost nothing
READ_NOTHING = "count d default first items last length"
READ_SHALLOW = "list map reject rejectattr reverse select selectattr"
READ_WHOLE = (
    "abs capitalize dictsort e escape float format indent int join lower max min replace safe sort string title trim "
    "unique upper"
)
DIVIDING = ("odd", "even", "divisibleby")  # tests that use %, which formats where it stands behind a text
TESTS_READ_WHOLE = "== eq equalto != ne < lt lessthan <= le > gt greaterthan >= ge in lower upper odd even divisibleby"
TESTS_READ_NOTHING = (
    "defined undefined none string mapping number sequence iterable boolean true false integer float callable sameas"
)


class ChatTemplate:
    """A compiled chat template; `origin` names its directory in what it refuses."""

    def __init__(self, source: str, origin: str = ""):
        """Raises: CheckpointError if `source` is no template, or one that this sandbox does not run."""
        self.name = f"the chat template of {origin}" if origin else "the chat template"
        if len(source) > LONGEST_SOURCE:
            raise CheckpointError(f"{self.name} has {len(source):,} characters; at most {LONGEST_SOURCE:,} are read.")
        self.meter = Meter()
        environment = Sandbox(self.meter)
        try:
            self.template = environment.from_string(Metering().visit(environment.parse(source)))
        except Exception as error:  # a stranger's text can break the compiler in many ways
            raise CheckpointError(f"{self.name} cannot be read: {_said(error)}") from error

    def render(self, messages: list[dict[str, str]], **given: Any) -> str:
        """The template applied to `messages`.

        Raises: CheckpointError if it fails, or works more than a conversation of this size can need.
        """
        self.meter.left = FUEL + FUEL_PER_WEIGHT * weight(messages)
        try:
            return self.template.render(messages=messages, **given)
        except Exception as error:  # a stranger's code
            raise CheckpointError(f"{self.name} cannot be rendered: {_said(error)}") from error


class Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox that can change nothing, with what transformers gives a template but a clock, on a meter."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, meter: Meter):
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols"],
            optimized=False,
            finalize=pass_context(lambda context, value: self.written(value)),
        )
        self.meter = meter
        self.globals = {name: self.globals[name] for name in ("range", "namespace")}
        self.globals["raise_exception"] = _refuse
        known = self.filters
        self.filters = {name: self.metered(name, known[name], nothing) for name in READ_NOTHING.split()}
        self.filters |= {name: self.metered(name, known[name], length) for name in READ_SHALLOW.split()}
        self.filters |= {name: self.metered(name, known[name], weight) for name in READ_WHOLE.split()}
        self.filters["tojson"] = pass_context(lambda context, *args, **options: self.as_json(*args, **options))
        judging: dict[str, Any] = self.tests
        self.tests = {name: judging[name] for name in TESTS_READ_NOTHING.split()}
        self.tests |= {name: self.metered(name, judging[name], weight) for name in TESTS_READ_WHOLE.split()}
        self.filters |= {  # what only rewritten trees name: a template cannot write these names
            "each step": self.steps,
            "burnt": lambda value, amount: meter.burn(amount),
            "read": self.read,
            "copied": self.copied,
            "joined": self.joined,
        }

    def metered(self, name: str, function: Callable[..., Any], cost: Callable[[Any, int], int]) -> Callable[..., Any]:
        """`function`, a filter or test, burning the `cost` of what it reads; a list comes in place of a generator."""

        @wraps(function)  # keeps jinja2's mark of what is passed first
        def counted(*args: Any, **kwargs: Any) -> Any:
            given = args[1:] if hasattr(function, "jinja_pass_arg") else args
            self.meter.burn(1 + cost(given[0], self.meter.left))
            self.meter.read(*given[1:], *kwargs.values())
            self.expect(name, *given, **kwargs)
            result = function(*args, **kwargs)
            if isinstance(result, (GeneratorType, reversed)):
                return list(self.steps(result, 1))
            self.meter.burn(len(result) if isinstance(result, list) else 0)
            return result

        return counted

    def expect(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Burn what the filter or method `name` does beyond reading `value` and its arguments once each."""
        options = [*args, *kwargs.values()]
        if name in DIVIDING and not isinstance(value, int | float):
            raise SecurityError(f"'{name}' is a test of numbers")
        if name == "replace" and len(options) > 1:
            self.meter.burn(str(value).count(str(options[0])) * len(str(options[1])) // CHARACTERS)
        elif name == "format":
            self.meter.burn(self.formatted(str(value), weight(options, self.meter.left)))
        elif name == "indent":
            width = options[0] if options else 4
            lines = 1 + len(str(value).splitlines())
            self.meter.burn(lines * (width if isinstance(width, int) else len(str(width))) // CHARACTERS)
        elif (
            not isinstance(value, str) and name not in READ_NOTHING.split()
        ):  # a separator, or an attribute's path, an item
            self.meter.burn(length(value) * sum(map(length, options)))

    def formatted(self, text: str, given: int) -> int:
        """What %-formatting `text` may write, where what it is given weighs so much.

        Raises: SecurityError for a width that pads without end.
        """
        if any("*" in spec or _wide(spec) for spec in re.findall(r"%(?:\([^)]*\))?([^a-zA-Z%]*)", text)):
            raise SecurityError("a width in a format string is too large")
        return text.count("%") * (given + WIDEST // CHARACTERS)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The result of an operator, refused before it is made if it would be huge."""
        self.meter.read(left, right)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            power = operator == "**" and isinstance(left, int) and left.bit_length() * abs(right) > LARGEST_BITS
            if power or any(isinstance(side, int) and side.bit_length() > LARGEST_BITS for side in (left, right)):
                raise SecurityError("a number in it is too large")
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                self.meter.burn(length(many) * max(times, 0) if isinstance(times, int) else 0)
        elif operator == "%" and isinstance(left, str):
            self.meter.burn(self.formatted(left, weight(right, self.meter.left)))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The result of a call, burning what a method reads and writes; a macro's body burns for itself."""
        owner = getattr(function, "__self__", None)
        self.meter.burn(1 + sum(map(length, args)) + sum(map(length, kwargs.values())))
        if isinstance(owner, (str, dict)):
            self.meter.burn(length(owner) if isinstance(owner, str) else 0)
            self.meter.read(*args, *kwargs.values())
            if function.__name__ == "join" and args:
                self.expect("join", args[0], owner)
            else:
                self.expect(function.__name__, owner, *args, **kwargs)
        result = super().call(context, function, *args, **kwargs)
        self.meter.burn(len(result) if isinstance(result, list) else 0)
        return result

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may use this: methods whose cost is known, and jinja2's own objects."""
        for kind, methods in ((str, METHODS), (dict, DICTIONARY_METHODS)):
            if isinstance(obj, kind):
                return attr in methods.split()
        return isinstance(obj, OBJECTS) and bool(super().is_safe_attribute(obj, attr, value))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` in the sandbox and on the meter; None for anything else."""
        if super().wrap_str_format(value) is None:
            return None
        text = str(value.__self__)

        def formatted(*args: Any, **kwargs: Any) -> str:
            given = weight([args, kwargs], self.meter.left)
            self.meter.burn(text.count("{") * (given + WIDEST // CHARACTERS) + length(text))
            return Narrow(self).vformat(text, args, kwargs)

        return formatted if value.__name__ == "format" else None

    def written(self, value: Any) -> str:
        """The text of what a template writes."""
        self.meter.read(value)
        return str(value)

    def as_json(
        self, value: Any, ensure_ascii: bool = False, indent: int | None = None, sort_keys: bool = False
    ) -> str:
        """`value` as JSON, in transformers' way. Each level of nesting may repeat the indentation."""
        heavy = weight(value, self.meter.left)
        deepest = 0 if isinstance(value, str) or indent is None else heavy
        self.meter.burn(heavy * (1 + max(0, int(indent or 0)) * deepest // CHARACTERS))
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)

    def steps(self, items: Iterable[Any], cost: int) -> Iterator[Any]:
        """`items`, burning `cost` for each."""
        for item in items:
            self.meter.burn(cost)
            yield item

    def read(self, value: Any) -> Any:
        """`value`, burning what reading all of it costs."""
        self.meter.read(value)
        return value

    def copied(self, value: Any) -> Any:
        """`value`, burning what copying it costs."""
        self.meter.burn(length(value))
        return value

    def joined(self, values: list[Any]) -> str:
        """The texts of `values`, one after the other."""
        self.meter.read(values)
        return "".join(map(str, values))


class Narrow(SandboxedFormatter):
    """`str.format` that does not pad without end."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """`value` by `format_spec`. Raises: SecurityError for a width that pads without end."""
        if _wide(format_spec):
            raise SecurityError("a width in a format string is too large")
        return str(super().format_field(value, format_spec))


def _wide(spec: str) -> bool:
    return any(int(number[:9]) > WIDEST for number in re.findall(r"\d+", spec))


def _refuse(message: Any) -> None:
    """Raise TemplateError: what a template calls to refuse a conversation."""
    raise TemplateError(message if isinstance(message, str) else "it refuses this conversation")


def _said(error: Exception) -> str:
    """What went wrong, where jinja2's errors speak for themselves and Python's need their names."""
    if isinstance(error, RecursionError):
        return "it nests or calls itself too deeply."
    text = str(error) if isinstance(error, TemplateError) else f"{error} ({type(error).__name__})"
    return one_line(text)
