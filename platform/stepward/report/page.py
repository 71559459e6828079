"""The page: what it is made of, and its one template. Everything is in the file, and nothing is fetched.

Tables sort on a click on a heading, by a script of a few lines that is the only one the page allows to run.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Picture:
    """A figure; `name` is that of its PNG file, `alt` what it shows for those who cannot see it."""

    name: str
    png: bytes
    alt: str
    caption: str
    kind: ClassVar[str] = "picture"

    @property
    def base64(self) -> str:
        """The PNG as text, for a page that needs no other file."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Grid:
    """A table of texts. `words`: text rather than numbers, aligned left. `folded`: shown on a click on these words."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: bool = False
    folded: str = ""
    kind: ClassVar[str] = "grid"

    @property
    def csv(self) -> str:
        """The table as a CSV file, in base64; a text that a spreadsheet would compute gets an apostrophe before it."""
        lines = io.StringIO()
        csv.writer(lines).writerows([[_no_formula(cell) for cell in row] for row in (self.header, *self.rows)])
        return base64.b64encode(lines.getvalue().encode()).decode()


@dataclass(frozen=True)
class Branch:
    """A state of a search and those that were proposed from it. `chosen`: on the way to the solution that was taken."""

    text: str
    note: str
    chosen: bool
    children: Sequence[Branch]


@dataclass(frozen=True)
class Explorer:
    """A search tree that unfolds on clicks; the way to the solution is open."""

    title: str
    root: Branch
    kind: ClassVar[str] = "explorer"


@dataclass(frozen=True)
class Verbatim:
    """Lines to be copied as they are: commands, settings. `folded`: shown on a click on these words."""

    text: str
    folded: str = ""
    kind: ClassVar[str] = "verbatim"


@dataclass(frozen=True)
class Gap:
    """What cannot be shown, why, and the command that makes it."""

    reason: str
    command: str = ""
    kind: ClassVar[str] = "gap"


def _no_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "@", "\t")) else cell


Block = Prose | Picture | Grid | Explorer | Verbatim | Gap


@dataclass(frozen=True)
class Section:
    """A titled part of the page."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The title as a fragment of a link."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """The report. `kicker` stands above the title; `answer` holds the sentences that answer its question."""

    title: str
    kicker: str
    answer: Sequence[str]
    sections: Sequence[Section]

    @property
    def pictures(self) -> list[Picture]:
        """All figures of the page, in its order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Picture)]

    @property
    def num_missing(self) -> int:
        """Sections that lack some of their data."""
        return sum(any(isinstance(block, Gap) for block in section.blocks) for section in self.sections)


def render(page: Page) -> str:
    """The page as HTML. Every text is escaped, so names from data cannot become markup."""
    environment = Environment(
        loader=PackageLoader("stepward.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (files("stepward.report") / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(page=page, script=script, digest=digest)
