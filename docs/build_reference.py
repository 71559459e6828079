"""Pages that are made when the site is built: the start, which is the README, and every setting of every command."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "platform"))
DOMAINS = ("walk", "math", "pde")


def on_files(files: Files, config: object) -> Files:
    """Add the made pages."""
    for name, text in (("index.md", start()), ("reference/settings.md", settings())):
        files.append(File.generated(config, name, content=text))  # type: ignore[arg-type]
    return files


def start() -> str:
    """The README, with links as they are from docs/; what is outside of docs/ is named and not linked."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)(?![\w/]+\.(?:md|png))[^)]*\)", r"`\1`", text)


def settings() -> str:
    """Help of every command in every domain that has it, as ``--help-all`` shows it."""
    from stepward.cli.commands import COMMANDS
    from stepward.core.command_line import describe
    from stepward.core.wing import find_wing

    parts = ["# Settings", "", "What `--help-all` shows. Settings stand in a YAML file or on the command line."]
    for name, command in COMMANDS.items():
        parts += ["", f"## {name}", "", command.words.splitlines()[0]]
        seen = ""
        for domain in DOMAINS:
            try:
                text = describe(command.load()[0](find_wing(domain)))
            except ValueError:
                continue  # the domain has nothing of that
            if text != seen:
                parts += ["", f"### {name}, {domain}", "", "```text", text.strip(), "```"]
            seen = text
    return "\n".join(parts) + "\n"
