"""From artifacts to the page. A section that cannot be made says why, and which command makes what it needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa

from stepward.report import sections
from stepward.report.page import Gap, Page, Section
from stepward.report.rollout_build import is_of_rollouts, rollout_builders
from stepward.report.sections import rollouts
from stepward.report.sources import MissingError, Sources

Builder = Callable[[Sources], Section]


def build_page(sources: Sources, tree: pa.Table | None = None) -> Page:
    """The report of an experiment.

    Args:
        sources: its artifacts.
        tree: nodes of one search, see `tree_table`; None where there is none to draw.
    """
    try:
        answer = sections.sample_answer if _of_samples(sources) else sections.answer
        answer = rollouts.rollout_answer if is_of_rollouts(sources) else answer
        question, sentences = answer(sources)
    except ValueError as error:
        question, sentences = "What this experiment shows", [f"No answer yet. {_reason(error)}"]
    domain = sources.evaluate.artifact.domain
    return Page(
        title=question,
        kicker=f"Stepward report · domain {domain} · evaluation {sources.evaluate.artifact.name}",
        answer=sentences,
        sections=[_attempt(title, build, sources) for title, build in builders(sources, tree).items()],
    )


def builders(sources: Sources, tree: pa.Table | None) -> dict[str, Builder]:
    """Title -> section, in the order of the page.

    Where guides judge sampled solutions these come first; tables that need true values are left out where a domain has
    none.
    """
    if is_of_rollouts(sources):
        return rollout_builders()
    searched: dict[str, Builder] = {
        "Solve rate against cost": sections.frontier_section,
        "Paired comparisons": sections.comparison_section,
        "Cost of scoring": sections.cost_section,
        "Other searches": sections.searches_section,
    }
    sampled: dict[str, Builder] = {
        "Solve rate against computation": sections.samples_section,
        "At equal computation": sections.matched_section,
        "Searches that steer": sections.steering_section,
        "Cost of scoring": sections.cost_section,
    }
    of_samples = _of_samples(sources)
    budgets: dict[str, Builder] = {"Other step budgets": sections.robustness_section}
    truth: dict[str, Builder] = {"Labels against the truth": sections.coverage_section}
    return {
        **(sampled if of_samples else searched),
        "Calibration": sections.calibration_section,
        "Ranking of siblings": sections.ranking_section,
        **({} if of_samples else budgets),
        "Parallelism dividend": sections.dividend_section,
        "One search, drawn": partial(sections.tree_section, tree=tree),
        "Labels": sections.label_section,
        **({} if of_samples else truth),
        "Training": sections.training_section,
        "Tuning": sections.tuning_section,
        "Made from": sections.provenance_section,
    }


def _of_samples(sources: Sources) -> bool:
    """Whether the evaluation is one of choices among sampled solutions."""
    return sources.evaluate.manifest is not None and sources.evaluate.has("tables/samples.parquet")


def _attempt(title: str, build: Builder, sources: Sources) -> Section:
    try:
        return build(sources)
    except MissingError as missing:
        return Section(title, [Gap(missing.reason, missing.command)])
    except (ValueError, KeyError) as error:  # a table of another version lacks a column
        return Section(title, [Gap(f"Its data could not be read: {_reason(error)}. Make them again (overwrite=true).")])


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
