"""What the report was made from, and the commands that make it again."""

from __future__ import annotations

import yaml

from stepward.core.artifacts import Manifest
from stepward.core.config import Plain
from stepward.report.page import Block, Grid, Prose, Section, Verbatim
from stepward.report.sources import Sources
from stepward.report.text import duration


def provenance_section(sources: Sources) -> Section:
    """Artifacts with fingerprints and commits, package versions, settings, commands."""
    usable = {source.role: source.open() for source in sources.usable()}
    caption = "Artifacts; a fingerprint covers settings, inputs and content. + after a commit: with local changes."
    header = ["artifact", "fingerprint", "commit", "made", "took"]
    artifacts = Grid(header, [_made(role, manifest) for role, manifest in usable.items()], caption, words=True)
    settings = [
        Verbatim(
            yaml.safe_dump(manifest.identity, sort_keys=False, allow_unicode=True, width=100).strip(),
            folded=f"Settings of {role} (seed {manifest.seed})",
        )
        for role, manifest in usable.items()
    ]
    again: list[Block] = [
        Prose(
            "To make it again, from the project's root (a sweep: with the space of its settings above, as space=FILE):"
        ),
        Verbatim("\n".join(source.command for source in sources.usable())),
    ]
    read = sources.evaluate.open().facts.get("test_readings") or []
    return Section("Made from", [*_readings(read), artifacts, _versions(list(usable.values())), *settings, *again])


def _readings(readings: list[Plain]) -> list[Block]:
    """How often the test problems were read: a second reading under other settings is a second chance."""
    if not readings:
        return []
    times = "once" if len(readings) == 1 else f"{len(readings)} times, under as many settings"
    rows = [[reading["name"], reading["command"]] for reading in readings]
    folded = Grid(["evaluation", "command"], rows, words=True, folded="Readings of the test problems, the first first")
    return [Prose(f"The test problems of these labels were read {times}."), folded]


def _made(role: str, manifest: Manifest) -> list[str]:
    commit = manifest.git_commit or "not in git"
    short = commit if len(commit) < 40 else commit[:12] + commit[40:]
    made = f"{manifest.created[:16].replace('T', ' ')} UTC"
    return [role, manifest.fingerprint, short, made, duration(manifest.cost.get("seconds", 0.0))]


def _versions(manifests: list[Manifest]) -> Grid:
    versions: dict[str, set[str]] = {}
    for manifest in manifests:
        for package, version in manifest.versions.items():
            versions.setdefault(package, set()).add(version)
    rows = [[package, ", ".join(sorted(found))] for package, found in sorted(versions.items())]
    return Grid(["package", "version"], rows, words=True, folded="Package versions")
