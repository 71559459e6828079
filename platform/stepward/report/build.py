"""From artifacts to the page: the sections that the tables of the evaluation call for, whatever the domain.

A section that cannot be made says why, and which command makes what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from stepward.report import sections
from stepward.report.page import Gap, Page, Section
from stepward.report.sections import errors, ranking_making
from stepward.report.sections.compared import compared_section
from stepward.report.sections.rivals import rival_sentences, rivals_section
from stepward.report.sources import MissingError, Source, Sources

Builder = Callable[[Sources], Section]


@dataclass(frozen=True)
class Part:
    """A section of the page, and what it is made from.

    Attributes:
        table: of the evaluation; the section is there where the table is.
        study: block of its settings: where that asked for the study, the section is there and says what is missing.
        unless: a table whose sections take its place.
    """

    title: str
    build: Builder
    table: str
    study: str = ""
    unless: str = ""

    def shown(self, sources: Sources) -> bool:
        """Whether the evaluation has what the section is about."""
        asked = sources.evaluate.open().identity.get(self.study) is not None
        if self.unless and has(sources, self.unless):
            return False
        return asked or has(sources, self.table)


PARTS = (
    Part("Trivial rivals", rivals_section, "rivals"),
    Part("Ablation", errors.ablation_section, "ablation"),
    Part("Paired comparisons", errors.gain_section, "ablation"),
    Part("Error against time", errors.time_section, "errors"),
    Part("Error against computation", errors.cost_of_errors_section, "ablation"),
    Part("Solve rate against computation", sections.samples_section, "samples", "samples"),
    Part("At equal computation", sections.matched_section, "matched", "samples"),
    Part("Searches that steer", sections.steering_section, "steering", "samples"),
    Part("Solve rate against cost", sections.frontier_section, "frontier", unless="samples"),
    Part("Paired comparisons", sections.comparison_section, "frontier", unless="samples"),
    Part("Cost of scoring", sections.cost_section, "costs"),
    Part("Other searches", sections.searches_section, "searches", unless="samples"),
    Part("Fields", errors.fields_section, "pictures", "pictures"),
    Part("Ranking of candidates", errors.candidates_section, "candidates", "rankings"),
    Part("Calibration", sections.calibration_section, "calibration", "values"),
    Part("Ranking of siblings", sections.ranking_section, "ranking", "values"),
    Part("Other step budgets", sections.robustness_section, "robustness", unless="samples"),
    Part("Parallelism dividend", sections.dividend_section, "dividend", "dividend"),
)
TRUTH = Part("Labels against the truth", sections.coverage_section, "coverage", unless="samples")


def build_page(sources: Sources, tree: pa.Table | None = None) -> Page:
    """The report of an experiment.

    Args:
        sources: its artifacts; the evaluation is there.
        tree: nodes of one search, see `tree_table`; None where there is none to draw.
    """
    try:
        answer = sections.sample_answer if has(sources, "samples") else sections.answer
        answer = errors.error_answer if has(sources, "ablation") else answer
        question, sentences = answer(sources)
    except ValueError as error:
        question, sentences = "What this experiment shows", [f"No answer yet. {_reason(error)}"]
    domain = sources.evaluate.artifact.domain
    return Page(
        title=question,
        kicker=f"Stepward report · domain {domain} · evaluation {sources.evaluate.artifact.name}",
        answer=[*rival_sentences(sources), *sentences],
        sections=[_attempt(title, build, sources) for title, build in builders(sources, tree)],
    )


def builders(sources: Sources, tree: pa.Table | None) -> Iterator[tuple[str, Builder]]:
    """Title and section, in the order of the page: what was found, how it was made, and from what."""
    yield "What is compared", compared_section
    yield from ((part.title, part.build) for part in PARTS if part.shown(sources))
    if has(sources, "frontier"):
        yield "One search, drawn", partial(sections.tree_section, tree=tree)
    ranked = ranking_making.of_rankings(sources)
    yield "Labels", ranking_making.ranking_label_section if ranked else sections.label_section
    if TRUTH.shown(sources):
        yield TRUTH.title, TRUTH.build
    yield "Training", ranking_making.ranking_training_section if ranked else sections.training_section
    yield "Tuning", sections.tuning_section
    for name, source in sources.benchmarks.items():
        yield f"Benchmark {name}", partial(_benchmark, source)
    yield "Made from", sections.provenance_section


def _benchmark(source: Source, sources: Sources) -> Section:
    return sections.benchmark_section(source)


def has(sources: Sources, table: str) -> bool:
    """Whether the evaluation holds a table."""
    return sources.evaluate.has(f"tables/{table}.parquet")


def _attempt(title: str, build: Builder, sources: Sources) -> Section:
    try:
        return build(sources)
    except MissingError as missing:
        return Section(title, [Gap(missing.reason, missing.command)])
    except (ValueError, KeyError) as error:  # a table of another version lacks a column
        return Section(title, [Gap(f"Its data could not be read: {_reason(error)}. Make them again (overwrite=true).")])


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
