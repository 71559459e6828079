"""The sections of a report about rollouts, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable

from stepward.report import sections
from stepward.report.page import Section
from stepward.report.sections import ranking_making, rollouts
from stepward.report.sources import Sources

Builder = Callable[[Sources], Section]
ABLATION = "tables/ablation.parquet"


def is_of_rollouts(sources: Sources) -> bool:
    """Whether the evaluation is one of rollouts."""
    return sources.evaluate.manifest is not None and sources.evaluate.has(ABLATION)


def rollout_builders() -> dict[str, Builder]:
    """Title -> section."""
    return {
        "Ablation": rollouts.ablation_section,
        "Paired comparisons": rollouts.rollout_comparison_section,
        "Error against time": rollouts.time_section,
        "Error against computation": rollouts.cost_of_rollouts_section,
        "Fields": rollouts.fields_section,
        "Ranking of candidates": rollouts.candidates_section,
        "Labels": ranking_making.ranking_label_section,
        "Training": ranking_making.ranking_training_section,
        "Tuning": sections.tuning_section,
        "Made from": sections.provenance_section,
    }
