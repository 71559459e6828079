"""The report stage: one HTML page and its figures, from the artifacts of an experiment. It needs no cluster.

A report belongs to what it was made from: made again with the same artifacts it is left as it is, and when one of them
has changed, or is there at last, it is replaced.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.report import Page, Sources, build_page, read_sources, render
from stepward.runtime.drawn_search import draw_searches
from stepward.runtime.tracking import Tracking, track
from stepward.runtime.usual_settings import usual_settings

TRAINED = ("prm", "hmm")


class ReportJob(StageSettings):
    """All settings of jobs/report.py."""

    evaluate: str = Field("default", description="name of the evaluate artifact")
    label: str | None = Field(None, description="name of the label artifact; none: that of the evaluation")
    trained: tuple[str, ...] | None = Field(None, description="names of train artifacts; none: those of the evaluation")
    tune: str = Field("default", description="name of the tune artifact")
    benchmarks: tuple[str, ...] = Field((), description="names of benchmark artifacts to show, too")
    headline_budget: int = Field(
        20, ge=1, description="expansions that the answer at the top is about; choose it before you look"
    )
    tracking: Tracking = Field(Tracking(), description="where the report is logged")


@dataclass(frozen=True)
class Reported:
    """What a run of the report stage made."""

    page: str
    num_figures: int
    num_missing: int
    store: str
    seconds: float
    was_finished: bool

    def __str__(self) -> str:
        made = "Already made" if self.was_finished else f"Reported in {self.seconds:.1f} s"
        lack = (
            "1 section lacks its data, and says"
            if self.num_missing == 1
            else f"{self.num_missing} sections lack their data, and say"
        )
        missing = f"; {lack} how to make it" if self.num_missing else ""
        lines = [f"{made}: {self.num_figures} figures{missing}", f"Report:       {self.page}"]
        return "\n".join([*lines, f"MLflow store: {self.store}"])


def report_job(wing: Wing) -> type[ReportJob]:
    """Settings of the report job for a domain; it has none of its own."""
    return ReportJob


def run_report(settings: ReportJob) -> Reported:
    """Make the report of an experiment and track it. Sections whose data are missing say so.

    Raises:
        ValueError: not one artifact of the experiment can be used.
    """
    started = time.monotonic()
    sources = find_sources(settings)
    artifact, inputs = settings.artifact("report"), {s.role: s.artifact for s in sources.usable()}
    identity = settings.identity() | {"inputs": {s.role: s.open().fingerprint for s in sources.usable()}}
    finished = not settings.overwrite and _is_of(artifact, identity)
    if not finished:
        with artifact.claim(identity, overwrite=True):
            tree = draw_searches(settings.store, settings.wing, sources)
            page = build_page(sources, tree)
            html = _write(artifact, page, tree)
            artifact.finish(
                identity=identity,
                seed=settings.seed,
                digest=hashlib.sha256(html).hexdigest()[:16],
                inputs=inputs,
                cost={"seconds": time.monotonic() - started},
                facts={"figures": len(page.pictures), "missing": page.num_missing},
            )
    track(artifact, settings.tracking)
    facts = artifact.manifest().facts
    page_url = f"{artifact.url}/report.html"
    store = settings.tracking.place if settings.tracking.enabled else "not tracked (tracking.enabled=false)"
    return Reported(page_url, facts["figures"], facts["missing"], store, time.monotonic() - started, finished)


def find_sources(settings: ReportJob) -> Sources:
    """The artifacts of the experiment: those named, and else those that the evaluation was made from."""
    evaluate = settings.artifact("evaluate", settings.evaluate)
    identity = evaluate.manifest().identity if evaluate.finished else {}
    guides = identity.get("guides", {}).values()
    trained = settings.trained or tuple(g["artifact"] for g in guides if g["kind"] == "trained") or TRAINED
    return read_sources(
        evaluate=evaluate,
        label=settings.artifact("label", settings.label or identity.get("labels", "default")),
        tune=settings.artifact("tune", settings.tune),
        trains=[settings.artifact("train", name) for name in dict.fromkeys(trained)],
        pretrains=[settings.artifact("pretrain", name) for name in _pretrained(evaluate)],
        benchmarks=[settings.artifact("benchmark", name) for name in settings.benchmarks],
        headline=settings.headline_budget,
        defaults=usual_settings(settings.wing),
    )


def _pretrained(evaluate: Artifact) -> list[str]:
    """Names of the pretrain artifacts that an evaluation read."""
    inputs = evaluate.manifest().inputs if evaluate.finished else {}
    return [role.partition("/")[2] for role in inputs if role.startswith("pretrain/")]


def _is_of(artifact: Artifact, identity: dict[str, object]) -> bool:
    """Whether the report is there, undamaged, and of just these settings and inputs."""
    return artifact.finished and artifact.manifest().identity == identity and _whole(artifact)


def _whole(artifact: Artifact) -> bool:
    try:
        artifact.open()
    except ValueError:
        return False
    return True


def _write(artifact: Artifact, page: Page, tree: pa.Table | None) -> bytes:
    html = render(page).encode()
    artifact.folder.write_bytes("report.html", html)
    for picture in page.pictures:
        artifact.folder.write_bytes(f"figures/{picture.name}.png", picture.png)
    if tree is not None:
        artifact.folder.write_table("tables/search_tree.parquet", tree)
    return html
