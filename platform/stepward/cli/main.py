"""From arguments to a stage that runs: which command, which settings, and how it ends."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from stepward.cli.commands import COMMANDS, Command
from stepward.cli.completion import complete, script
from stepward.core.config import HELP


def main(argv: Sequence[str] | None = None) -> None:
    """``stepward <command> …``: the console script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in HELP:
        print(overview())
        return
    name, *rest = arguments
    if name == "completion":
        print(script(rest[0] if rest else ""))
    elif name == "complete":  # what the script of `completion` calls
        print("\n".join(complete(rest)))
    elif name in COMMANDS:
        run(COMMANDS[name], rest, f"stepward {name}")
    else:
        _unknown(name)


def job(name: str) -> None:
    """A file of jobs/: the command of its name, whose help speaks of files."""
    run(COMMANDS[name], sys.argv[1:], f"python jobs/{name}.py")


def run(command: Command, argv: Sequence[str], called: str) -> None:
    """Read the settings of a command and run it, to its last line or its error.

    Args:
        called: how the user called it, for the help.
    """
    settings_for, function = command.load()
    words = command.words if called.startswith("stepward") else as_jobs(command.words)
    from stepward.console.outcome import report
    from stepward.core.stage import load_job

    report(function, load_job(settings_for, words, list(argv), domain=command.domain, main=command.main))


def overview() -> str:
    """What there is."""
    lines = [f"  {name:<11} {command.words.splitlines()[0]}" for name, command in COMMANDS.items()]
    lines.append(f"  {'completion':<11} Print a script for bash, zsh or fish that completes commands and settings.")
    return "\n".join(
        [
            "Experiments with process reward models, from labels to guided search at matched compute.",
            "",
            "    stepward experiment                     the whole of it on the embedded default, a few minutes",
            "    stepward label domain=math name=mine    one stage; settings are name=value, or a YAML file",
            "    stepward label --help                   its main settings; --help-all shows every one",
            "",
            *lines,
        ]
    )


def as_jobs(words: str) -> str:
    """The words of a command for who runs the files of jobs/."""
    return re.sub(rf"\bstepward ({'|'.join(COMMANDS)})\b", r"python jobs/\1.py", words)


def _unknown(name: str) -> NoReturn:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(COMMANDS)}."
    print(f"stepward: there is no command {name!r}. {hint}", file=sys.stderr)
    raise SystemExit(2)
