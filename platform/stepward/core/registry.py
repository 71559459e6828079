"""Registries are plain dictionaries; third parties add to them through Python entry points."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, *, kind: str) -> T:
    """`table[name]`, or an error that says which names exist. `kind` is what the table holds, for the message."""
    if name in table:
        return table[name]
    close = difflib.get_close_matches(name, table, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"Unknown {kind} {name!r}: expected one of {sorted(table)}.{hint}")


def plugin_points(group: str) -> dict[str, Any]:
    """Entry points that installed packages offer under `stepward.<group>`, by name; nothing is imported yet.

    They may be of the package `importlib_metadata` instead of the standard library, once something has imported it.

    Two packages that offer one name are an error: which of them wins would depend on installation order.
    """
    found: dict[str, Any] = {}
    for point in entry_points(group=f"stepward.{group}"):
        if point.name in found:
            raise ValueError(f"Two installed packages offer {point.name!r} in stepward.{group}; uninstall one of them.")
        found[point.name] = point
    return found


def plugins(group: str) -> dict[str, Any]:
    """The objects behind `plugin_points`, imported."""
    return {name: point.load() for name, point in plugin_points(group).items()}
