"""Chat templates, which are code from strangers: compiled in a sandbox and rendered within a bounded amount of work.

Work is counted, not timed, so that a template is refused at the same place on every machine. Each operation burns fuel
in proportion to what it reads and makes, which also limits memory and the length of the output: in `Sandbox` where
jinja2 asks the environment (calls, items, operators), elsewhere in the code that `MeteredCode` generates. Filters,
tests and methods of unknown cost do not exist. A template is rendered by one thread at a time.
"""

import json
import re
from collections.abc import Callable, Iterable
from datetime import date
from functools import update_wrapper, wraps
from types import GeneratorType
from typing import Any

from jinja2 import Environment, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace

from engine.core.errors import CheckpointError, one_line

FUEL = 200_000  # for any conversation, one unit for about one step of Python; templates in use burn hundreds a message
FUEL_PER_WEIGHT = 1000  # and for each unit that the conversation weighs
CHARACTERS = 8  # that weigh one unit
LONGEST_SOURCE = 200_000  # characters; templates in use have up to 30,000
LARGEST_BITS = 4096  # of an integer
CONTAINERS: tuple[type[Any], ...] = (list, tuple, set, type({}.keys()), type({}.values()), type({}.items()))
OBJECTS = (LoopContext, Macro, Namespace, Undefined)  # of jinja2, whose attributes are safe and free
METHODS = {
    str: "capitalize casefold count endswith find format index isalnum isalpha isdecimal isdigit islower isnumeric "
    "isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition "
    "rsplit rstrip split splitlines startswith strip swapcase title upper",
    dict: "get items keys values",
}
FREE_FILTERS = "count d default first last length"
FILTERS = (
    "abs capitalize dictsort e escape float format indent int items join list lower map max min reject rejectattr "
    "replace reverse safe select selectattr sort string sum title trim unique upper"
)
TESTS = (
    "!= < <= == > >= boolean callable defined divisibleby eq equalto even false float ge greaterthan gt in integer "
    "iterable le lessthan lower lt mapping ne none number odd sameas sequence string true undefined upper"
)
REMAINDERS = ("odd", "even", "divisibleby")  # tests by %, which is formatting if the left side is a string
CONVERSION = re.compile(r"%(\(\w*\))?[-+ #0]*\d{0,2}(\.\d{0,2})?[a-zA-Z%]")  # of a format string, two digits wide


class ChatTemplate:
    """A compiled chat template; errors name the directory `origin`."""

    def __init__(self, source: str, origin: str = ""):
        """Raises: CheckpointError if `source` is not a template, or is one that the sandbox does not run."""
        self.name = f"the chat template of {origin}" if origin else "the chat template"
        if len(source) > LONGEST_SOURCE:
            raise CheckpointError(f"{self.name} has {len(source):,} characters; the limit is {LONGEST_SOURCE:,}.")
        self.environment = Sandbox()
        try:
            self.template = self.environment.from_string(source)
        except Exception as error:  # a stranger's text can break the compiler in many ways
            raise CheckpointError(f"{self.name} cannot be read: {_reason(error)}") from error

    def render(self, messages: list[dict[str, str]], day: str = "", **variables: Any) -> str:
        """The text of `messages`; `day`, an ISO date, is what strftime_now formats, which is undefined without one.

        Raises: CheckpointError if the template fails, or works more than a conversation of this size can need.
        """
        self.environment.fuel = FUEL + FUEL_PER_WEIGHT * weight(messages)
        try:
            if day:
                variables["strftime_now"] = date.fromisoformat(day).strftime
            return self.template.render(messages=messages, **variables)
        except Exception as error:  # a stranger's code
            raise CheckpointError(f"{self.name} cannot be rendered: {_reason(error)}") from error


def weight(value: Any) -> int:
    """Cost of reading `value` with everything inside it; what it contains twice counts twice."""
    total, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        total += 1
        if isinstance(item, str):
            total += len(item) // CHARACTERS
        elif isinstance(item, int):
            total += item.bit_length() // CHARACTERS
        elif isinstance(item, range):
            total += len(item)
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, CONTAINERS):
            waiting += item
    return total


class MeteredCode(CodeGenerator):
    """Compiles a template into code that burns fuel where jinja2 does not ask the environment.

    Every container burns its weight when it is made, so no value can weigh more than the fuel: lists that hold the
    same list twice, thirty deep, would have 2**30 leaves to print or compare.
    """

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """A body (of a loop, branch, macro or template), which burns its number of operations each time it runs."""
        body = list(nodes)
        self.writeline(f"environment.burn({1 + _size(body)})")
        super().blockvisit(body, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        """A loop, whose filter burns fuel for each item, also for those that never reach the body."""
        if node.recursive:
            raise TemplateError("it has a recursive loop, which slmctl does not run")
        if node.test:
            node.test = nodes.Or(_burning([node.test]), node.test)  # burn() returns None, so the right side decides
        super().visit_For(node, frame)

    def macro_body(self, node: nodes.Macro | nodes.CallBlock, frame: Frame) -> Any:
        """A macro, whose defaults burn fuel at each call."""
        node.body.insert(0, nodes.ExprStmt(_burning(node.defaults)))
        return super().macro_body(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        """A comparison, which reads all its operands."""
        self.write("(")
        self.read(self.visit, node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self.read(self.visit, operand.expr, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """`a ~ b`: the parts are read as a tuple."""
        self.write("environment.concatenate(")
        self.visit(nodes.Tuple(node.nodes, "load"), frame)
        self.write(")")

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Any node; a container or a slice is read when it is made."""
        container = isinstance(node, nodes.Tuple | nodes.List | nodes.Dict) and getattr(node, "ctx", "load") == "load"
        if not container and not (isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)):
            return super().visit(node, *args, **kwargs)
        return self.read(super().visit, node, *args)

    def read(self, visit: Callable[..., Any], node: nodes.Node, frame: Frame) -> None:
        """The code of `node`, its value passed through `Sandbox.read`."""
        self.write("environment.read(")
        visit(node, frame)
        self.write(")")

    def refuse(self, node: nodes.Stmt, frame: Frame) -> None:
        """Raises TemplateError for statements that no chat template needs."""
        raise TemplateError(f"it has a statement ({type(node).__name__}) that slmctl does not run")

    visit_Block = visit_Extends = visit_Include = visit_Import = visit_FromImport = refuse
    visit_EvalContextModifier = visit_ScopedEvalContextModifier = refuse


def _burning(expressions: Iterable[nodes.Node]) -> nodes.Call:
    """The expression that burns what evaluating `expressions` costs."""
    return nodes.Call(nodes.EnvironmentAttribute("burn"), [nodes.Const(1 + _size(expressions))], [], None, None)


def _size(code: Iterable[nodes.Node]) -> int:
    """How many operations `code` has, without the bodies inside it, which burn fuel of their own."""
    size, waiting = 0, list(code)
    while waiting:
        node = waiting.pop()
        size += 1 + (len(node.data) // CHARACTERS if isinstance(node, nodes.TemplateData) else 0)
        waiting += node.iter_child_nodes(exclude=("body", "else_"))
    return size


class Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox that can change nothing and has limited fuel, with the functions that transformers gives a template."""

    code_generator_class = MeteredCode
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    fuel = FUEL

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationTag],
            optimized=False,  # nothing is computed when a template is compiled, where nothing is metered
            finalize=pass_context(lambda context, value: str(self.read(value))),
        )
        self.globals = {"range": self.globals["range"], "namespace": PrivateNamespace, "raise_exception": _refuse}
        filters: dict[str, Any] = self.filters
        tests: dict[str, Any] = self.tests
        self.filters = {name: filters[name] for name in FREE_FILTERS.split()} | {"tojson": self.as_json}
        self.filters |= {name: self.metered(name, filters[name]) for name in FILTERS.split()}
        self.tests = {name: self.metered(name, tests[name]) for name in TESTS.split()}

    def burn(self, amount: int) -> None:
        """Takes `amount` from the fuel. Raises: SecurityError if not as much is left."""
        self.fuel -= amount
        if self.fuel < 0:
            raise SecurityError("it works or writes without end, or far more than this conversation needs")

    def read(self, value: Any) -> Any:
        """`value`, whose weight is burned."""
        self.burn(weight(value))
        return value

    def concatenate(self, values: tuple[Any, ...]) -> Any:
        """The text of `values`, joined."""
        return self.read("".join(map(str, values)))

    def charge(self, name: str, value: Any, *options: Any) -> None:
        """Burns what the filter, test or method `name` may read and write: `value`, and each option for each part."""
        self.burn(weight(value) * (1 + sum(map(weight, options))))
        if name == "indent":
            self.burn(weight(value) * sum(option for option in options if isinstance(option, int)))
        elif name in ("sum", "unique"):  # lists are copied for each one added; numbers can all have the same hash
            self.burn(weight(value) ** 2)
        elif name == "format":
            _check_conversions(str(value))
        elif name in REMAINDERS and not isinstance(value, int | float):
            raise SecurityError(f"'{name}' is a test of numbers")

    def metered(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The filter or test `function`, metered; it returns a list in place of a generator."""

        @wraps(function)  # keeps jinja2's mark that the environment or context is passed first
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.charge(name, *(args[1:] if hasattr(function, "jinja_pass_arg") else args), *kwargs.values())
            result = function(*args, **kwargs)
            return self.read(list(result) if isinstance(result, (GeneratorType, reversed)) else result)

        return counted

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The result of an operator, refused before it is made if it would be huge."""
        self.burn(weight(left) + weight(right))
        if operator == "%" and isinstance(left, str):
            self.charge("format", left, right)
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(times, int) and isinstance(many, str | list | tuple):
                    self.burn(weight(many) * max(times, 0) // (CHARACTERS if isinstance(many, str) else 1))
        elif operator == "**" and isinstance(left, int) and left.bit_length() * abs(right) > LARGEST_BITS:
            raise SecurityError("a number in it is too large")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and result.bit_length() > LARGEST_BITS:
            raise SecurityError("a number in it is too large")
        return self.read(result)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The result of a call; the body of a macro burns fuel of its own."""
        options = [*args, *(value for name, value in kwargs.items() if name not in ("_loop_vars", "_block_vars"))]
        owner = getattr(function, "__self__", None)
        self.charge(function.__name__ if isinstance(owner, str) else "", owner, *options)
        return self.read(super().call(context, function, *args, **kwargs))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item; a key is hashed, and so read."""
        return super().getitem(obj, self.read(argument))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may use this: a method of known cost, or an attribute of jinja2's own objects."""
        for kind, methods in METHODS.items():
            if isinstance(obj, kind):
                return attr in methods.split()
        return isinstance(obj, OBJECTS) and bool(super().is_safe_attribute(obj, attr, value))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` in the sandbox and with narrow fields; None for anything else."""
        if super().wrap_str_format(value) is None or value.__name__ != "format":
            return None
        text = str(value.__self__)

        def formatted(*args: Any, **kwargs: Any) -> str:
            self.charge("", text, *args, *kwargs.values())
            return NarrowFormatter(self).vformat(text, args, kwargs)

        return update_wrapper(formatted, value)

    def as_json(
        self, value: Any, ensure_ascii: bool = False, indent: int | None = None, sort_keys: bool = False
    ) -> Any:
        """`value` as JSON, as transformers writes it. Each level of nesting may repeat the indentation."""
        heavy = weight(value)
        self.burn(heavy * (1 + heavy * max(0, int(indent or 0))))
        return self.read(json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys))


class GenerationTag(Extension):
    """`{% generation %}` marks the assistant's turns for transformers' loss mask; here its body is simply rendered."""

    def __init__(self, environment: Environment):
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """The body as it is."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class PrivateNamespace(Namespace):
    """A namespace that cannot be printed: it may contain itself, or more than its weight, which is one unit."""

    def __repr__(self) -> str:
        raise SecurityError("it prints a namespace")


class NarrowFormatter(SandboxedFormatter):
    """`str.format` that does not pad without end."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """`value` by `format_spec`. Raises: SecurityError for a width of more than two digits."""
        if re.search(r"\d{3}", format_spec):
            raise SecurityError("a width in a format string is too large")
        return str(super().format_field(value, format_spec))


def _check_conversions(text: str) -> None:
    """Raises SecurityError if `text`, a format string for %, has a wide field, or one that cannot be checked."""
    if "%" in CONVERSION.sub("", text):
        raise SecurityError("a width in a format string is too large, or a conversion is not supported")


def _refuse(message: Any) -> None:
    """Raises TemplateError: what a template calls to refuse a conversation."""
    raise TemplateError(message if isinstance(message, str) else "it refuses this conversation")


def _reason(error: Exception) -> str:
    """What went wrong in one line; Python's errors need their type, jinja2's do not."""
    if isinstance(error, RecursionError):
        return "it nests or calls itself too deeply."
    return one_line(str(error) if isinstance(error, TemplateError) else f"{error} ({type(error).__name__})")
