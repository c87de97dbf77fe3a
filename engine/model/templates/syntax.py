"""Chat templates' syntax trees, rewritten so that what jinja2 gives no hook for burns fuel too.

Loops, macros, comparisons, concatenations, slices and keys are wrapped in filters of the sandbox in sandbox.py, under
names that a template cannot write.
"""

from collections.abc import Iterable
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.visitor import NodeTransformer

from engine.model.templates.meter import CHARACTERS

STATEMENTS = (
    nodes.Output,
    nodes.For,
    nodes.If,
    nodes.Macro,
    nodes.CallBlock,
    nodes.FilterBlock,
    nodes.With,
    nodes.Assign,
    nodes.AssignBlock,
    nodes.ExprStmt,
    nodes.Break,
    nodes.Continue,
)


class Metering(NodeTransformer):
    """Rewrites a template's syntax tree so that what jinja2 gives no hook for burns fuel too."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """The node that takes the place of `node`. Raises: TemplateError for a statement that is not run here."""
        if isinstance(node, nodes.Stmt) and not isinstance(node, STATEMENTS):
            raise TemplateError(f"it has a statement ({type(node).__name__}) that slmctl does not run")
        return super().visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """A loop whose every step burns the size of what it may do."""
        if node.recursive:
            raise TemplateError("it has a recursive loop, which slmctl does not run")
        cost = _size([*node.body, *([node.test] if node.test else [])])
        self.generic_visit(node)
        node.iter = _filtered(cast(nodes.Expr, node.iter), "each step", cost)
        return node

    def visit_Macro(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Node:
        """A macro whose every call burns the size of what it may do."""
        cost = _size(node.body)
        self.generic_visit(node)
        burnt = _filtered(nodes.Const(None, lineno=node.lineno), "burnt", cost)
        node.body.insert(0, nodes.ExprStmt(burnt, lineno=node.lineno))
        return node

    visit_CallBlock = visit_Macro

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        """A comparison that burns what it reads; beside a constant, equality reads no more than the constant."""
        self.generic_visit(node)
        sides: list[Any] = [node, *node.ops]
        short = any(isinstance(side.expr, nodes.Const) for side in sides) and len(node.ops) == 1
        if not short or node.ops[0].op in ("in", "notin"):
            for side in sides:
                side.expr = _read(side.expr)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """`a ~ b`, burning what it reads."""
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "joined")

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        """A slice that burns what it copies, or an item whose key, which is hashed, burns what it weighs."""
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            return _filtered(node, "copied")
        node.arg = _read(node.arg)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        """An entry of a dictionary, whose key, which is hashed, burns what it weighs."""
        self.generic_visit(node)
        node.key = _read(node.key)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        """Output whose constant strings are plain text, which the loop around them counts."""
        self.generic_visit(node)
        for i, part in enumerate(node.nodes):
            if isinstance(part, nodes.Const) and isinstance(part.value, str):
                node.nodes[i] = nodes.TemplateData(part.value, lineno=part.lineno)
        return node


def _filtered(node: nodes.Expr, name: str, *constants: int) -> nodes.Filter:
    """`node | name(constants)`."""
    given = [nodes.Const(constant, lineno=node.lineno) for constant in constants]
    return nodes.Filter(node, name, given, [], None, None, lineno=node.lineno)


def _read(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filtered(node, "read")


def _size(body: Iterable[nodes.Node]) -> int:
    """How many things `body` may do when it runs once, loops within it aside."""
    size, waiting = 1, list(body)
    while waiting:
        node = waiting.pop()
        size += 1 + (len(node.data) // CHARACTERS if isinstance(node, nodes.TemplateData) else 0)
        size += len(node.value) // CHARACTERS if isinstance(node, nodes.Const) and isinstance(node.value, str) else 0
        waiting.extend(node.iter_child_nodes())
    return size
