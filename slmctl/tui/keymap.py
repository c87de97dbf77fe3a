"""Which bindings there are to remap, and what a key may be called."""

import importlib
import pkgutil
import unicodedata
from collections.abc import Iterable, Iterator

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys

import slmctl.tui.screens
import slmctl.tui.widgets

MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
_NAMED = {str(key.value) for key in Keys}


def binding_ids() -> set[str]:
    """The ids of every binding of ours, those of screens and widgets that are not shown yet too."""
    for package in (slmctl.tui.screens, slmctl.tui.widgets):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    return {binding.id for kind in _kinds(DOMNode) for binding in _bindings(kind) if binding.id is not None}


def is_key(name: str) -> bool:
    """Whether a key can be called so: "x", "?", "f7", "ctrl+r", "question_mark"."""
    name = name.strip()
    if len(name) == 1:
        return name.isprintable()
    *modifiers, key = name.split("+")
    return set(modifiers) <= MODIFIERS and (key in _NAMED or _is_character(key))


def _is_character(key: str) -> bool:
    if len(key) == 1:
        return key.isprintable()
    try:
        unicodedata.lookup(key.replace("_", " "))
    except KeyError:
        return False
    return bool(key)


def _kinds(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


def _bindings(kind: type[DOMNode]) -> Iterable[Binding]:
    return Binding.make_bindings(vars(kind).get("BINDINGS", ()))
