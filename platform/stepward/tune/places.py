"""Where a search space is read from: the user's file, the project's folder, or the package that brings the domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepward.core.config import read_yaml
from stepward.core.wing import Wing

PROJECT = Path(__file__).parents[3]  # a checkout has tune_spaces/ there; an installed package has nothing
FOLDER = "tune_spaces"


def space_values(name: str, wing: Wing) -> dict[str, Any]:
    """The content of a space: dotted name of a setting -> plain value or dimension.

    Args:
        name: path of a YAML file, relative to the current folder or to the project, or name of a space of the wing.

    Raises:
        ValueError: there is no such space; it lists those there are.
    """
    for place in (Path(name), PROJECT / name):
        if place.is_file():
            return read_yaml(place)
    if name in wing.spaces:
        return dict(wing.spaces[name])
    known = sorted(
        [*wing.spaces, *(f"{FOLDER}/{file.name}" for file in (PROJECT / FOLDER).glob(f"{wing.name}_*.yaml"))]
    )
    there = f"The domain {wing.name!r} has {', '.join(known)}." if known else f"The domain {wing.name!r} brings none."
    raise ValueError(f"space={name}: expected a YAML file or a space of the domain, but there is neither. {there}")


def default_space(wing: Wing) -> str | None:
    """The space that a domain is swept over unless another is named; None where it has none."""
    if wing.spaces:
        return next(iter(wing.spaces))
    own = f"{FOLDER}/{wing.name}_prm.yaml"
    return own if (PROJECT / own).is_file() or Path(own).is_file() else None
