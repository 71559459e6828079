"""What is compared: the task in a sentence and every guide in one, for who reads the page cold."""

from __future__ import annotations

from stepward.core.config import Plain
from stepward.core.wing import Wing, find_wing
from stepward.report.page import Block, Grid, Prose, Section
from stepward.report.sections.setting import setting
from stepward.report.sources import Sources
from stepward.rewards.guides import guide_of, parts_of


def compared_section(sources: Sources) -> Section:
    """The task, then each guide: its name, its kind, and what it does."""
    about, wing = setting(sources), find_wing(sources.evaluate.artifact.domain)
    rows = [[name, guide["kind"], _words(guide, wing, sources)] for name, guide in about.guides.items()]
    blocks: list[Block] = [Prose(wing.about)] if wing.about else []
    blocks.append(Grid(["guide", "kind", "what it does"], rows, words=True))
    return Section("What is compared", blocks)


def _words(guide: Plain, wing: Wing, sources: Sources) -> str:
    """First sentence of what the settings of a guide say of themselves; of a trained one, of its learner."""
    parts = ", ".join(parts_of(guide_of(guide, wing)))
    if guide["kind"] != "trained":
        said = _first_sentence(type(guide_of(guide, wing)))
        return f"{said} Made of {parts}." if parts else said
    source = sources.trains.get(guide["artifact"])
    kind = source.json("reward.json").get("kind") if source and source.manifest else None
    learner = wing.learners.get(str(kind))
    said = _first_sentence(learner) if learner else "A reward model that is there no more."
    return f"Trained on the labels: {said[:1].lower()}{said[1:]}"


def _first_sentence(settings: type) -> str:
    text = " ".join((settings.__doc__ or "").split())
    return text.split(". ")[0].rstrip(".") + "." if text else ""
