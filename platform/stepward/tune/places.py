"""Where a search space is read from: the user's file, the project's folder, or the package that brings the domain."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from stepward.core.config import read_yaml
from stepward.core.wing import Wing

# Where the folder with the spaces of this project is: in a checkout, or where an installed package has its data.
HOMES = (Path(__file__).parents[3], Path(sysconfig.get_path("data"), "share", "stepward"))
FOLDER = "tune_spaces"


def space_values(name: str, wing: Wing) -> dict[str, object]:
    """The content of a space: dotted name of a setting -> plain value or dimension.

    Args:
        name: path of a YAML file, relative to the current folder or to this project's, or name of a space of the wing.

    Raises:
        ValueError: there is no such space; it lists those there are.
    """
    for place in (Path(name), *(home / name for home in HOMES)):
        if place.is_file():
            return read_yaml(place)
    if name in wing.spaces:
        return dict(wing.spaces[name])
    files = {file.name for home in HOMES for file in (home / FOLDER).glob(f"{wing.name}_*.yaml")}
    known = sorted([*wing.spaces, *(f"{FOLDER}/{file}" for file in files)])
    there = f"The domain {wing.name!r} has {', '.join(known)}." if known else f"The domain {wing.name!r} brings none."
    raise ValueError(f"space={name}: expected a YAML file or a space of the domain, but there is neither. {there}")


def default_space(wing: Wing) -> str | None:
    """The space that a domain is swept over unless another is named; None where it has none."""
    if wing.spaces:
        return next(iter(wing.spaces))
    own = f"{FOLDER}/{wing.name}_prm.yaml"
    return own if any((home / own).is_file() for home in (Path(), *HOMES)) else None
