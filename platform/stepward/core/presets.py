"""Presets: settings that a domain ships under a name, ``presets/NAME.yaml`` beside the module of its wing.

``preset=real model=./my-model`` stands for the settings of the file, with what it calls an argument filled in:

    arguments: {model: label.proposer.model}     # short name -> the setting that it stands for, or several
    domain: math
    label: {…}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from stepward.core.config import read_yaml
from stepward.core.registry import lookup, plugin_points

__all__ = ["expanded", "presets"]

PRESET, ARGUMENTS = "preset", "arguments"


def presets() -> dict[str, Path]:
    """Name -> file, of every installed domain; none of them is imported."""
    found: dict[str, Path] = {}
    for point in plugin_points("domains").values():
        spec = find_spec(point.value.partition(":")[0])
        for place in (spec and spec.submodule_search_locations) or ():
            found |= {path.stem: path for path in sorted(Path(place, "presets").glob("*.yaml"))}
    return found


def expanded(argv: Sequence[str]) -> list[str]:
    """A command line with its preset, where it names one, written out before the other settings.

    Raises:
        ValueError: there is no such preset.
    """
    pairs = [argument.removeprefix("--").partition("=") for argument in argv]
    named = [value for key, _, value in pairs if key == PRESET]
    if not named:
        return list(argv)
    settings = read_yaml(lookup(presets(), named[-1], kind="preset"))
    arguments = {name: [to] if isinstance(to, str) else to for name, to in settings.pop(ARGUMENTS, {}).items()}
    rest = [
        [f"{setting}={value}" for setting in arguments[key]] if key in arguments and sign else [argument]
        for argument, (key, sign, value) in zip(argv, pairs, strict=True)
        if key != PRESET
    ]
    return [*_written(settings), *chain.from_iterable(rest)]


def _written(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested settings as ``a.b=value``; a kind before the other settings of its block, which it starts afresh."""
    for name in sorted(settings, key=lambda name: name != "kind"):
        value = settings[name]
        if isinstance(value, Mapping) and value:
            yield from _written(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={json.dumps(value, ensure_ascii=False)}"  # which is YAML, too
