"""Completion in a shell: commands, then the names of the settings of a command."""

from __future__ import annotations

from collections.abc import Sequence

from stepward.cli.commands import COMMANDS

_BASH = """_stepward() {
    local IFS=$'\\n'
    COMPREPLY=($(stepward complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _stepward stepward"""
SCRIPTS = {
    "bash": _BASH,
    "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}",
    "fish": "complete -c stepward -f -a '(stepward complete (commandline -opc)[2..] (commandline -ct))'",
}


def script(shell: str) -> str:
    """What a shell reads to complete: ``eval "$(stepward completion bash)"``.

    Raises:
        SystemExit: for another shell; says which there are.
    """
    if shell not in SCRIPTS:
        raise SystemExit(f"stepward completion: expected one of {', '.join(SCRIPTS)}, got {shell!r}")
    return SCRIPTS[shell]


def complete(words: Sequence[str]) -> list[str]:
    """What may stand in the place of the last of `words`, which come after ``stepward``."""
    *before, last = words or [""]
    if not before:
        return [name for name in (*COMMANDS, "completion") if name.startswith(last)]
    if before[0] not in COMMANDS:
        return []
    from stepward.core.config import dotted_fields, peek
    from stepward.core.wing import find_wing

    command = COMMANDS[before[0]]
    settings_for, _ = command.load()
    named = [word for word in before[1:] if "=" in word]
    settings = settings_for(find_wing(peek(named, "domain", command.domain)))
    dashes = "--" if last.startswith("--") else ""
    return [f"{dashes}{name}=" for name in dotted_fields(settings) if name.startswith(last.removeprefix("--"))]
