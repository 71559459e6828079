"""Judges on a benchmark: every guide scores every step of its solutions, and what the scores are worth is tabulated.

shards/<guide>/0-100.parquet     scores of one guide of solutions 0 to 99, and what they cost
tables/benchmark.parquet         figures of every guide, threshold and category, with intervals over problems
tables/scores.parquet            every score
tables/references.parquet        published figures
dead_letters.parquet             rows that could not be used, and solutions that a guide could not score
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, create_model, model_validator

from stepward.core.artifacts import Artifact, ArtifactError, Manifest, content_digest
from stepward.core.benchmarks import Benchmarks
from stepward.core.config import one_of
from stepward.core.cost import KINDS, Ledger, metered_reward
from stepward.core.seeding import Rng
from stepward.core.stage import StageSettings
from stepward.core.wing import Rejected, Wing, rejected_table
from stepward.evaluate.context import pieces
from stepward.evaluate.judging import ALWAYS, Judging, Scored, figure_rows
from stepward.evaluate.tables import Row, table_of
from stepward.rewards.factory import Guides, Loader, scale_of
from stepward.rewards.guides import OracleGuide, guide_of, guide_type

SOLUTIONS = "shards/solutions.parquet"
REJECTED = "shards/rejected.parquet"
CHARGED = tuple(kind for kind in KINDS if kind not in ("expansions", "proposals", "nfe", "generated_tokens"))


class BenchmarkSettings(StageSettings):
    """Which benchmark, and who is judged by it. `benchmark_settings` adds what a domain brings."""

    benchmark: Any
    guides: dict[str, Any]
    max_solutions: int | None = Field(
        None, ge=1, description="solutions judged, drawn at random evenly from the categories; none: all"
    )
    thresholds: dict[str, float] = Field(
        {}, description="guide -> score above which a step counts as right, where it is not that of its kind"
    )
    threshold_from: str | None = Field(
        None,
        description="category whose solutions choose thresholds, which are then reported on the others; none: half of "
        "the problems chooses the thresholds of the other half, both ways",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="mass of every interval")
    num_resamples: int = Field(2000, ge=100, description="bootstrap resamples, of problems")

    @model_validator(mode="after")
    def _makes_sense(self) -> BenchmarkSettings:
        unknown = sorted(set(self.thresholds) - set(self.guides))
        if unknown:
            raise ValueError(f"thresholds: expected guides among {sorted(self.guides)}, got {unknown}")
        if not self.guides:
            raise ValueError("guides: expected at least one judge, got none")
        if ALWAYS in self.guides:
            raise ValueError(f"guides: expected another name than {ALWAYS!r}, which every benchmark holds by itself")
        if any(isinstance(guide, OracleGuide) for guide in self.guides.values()):
            raise ValueError("guides: expected no oracle, because labels of steps are no outcomes; leave it out")
        return self

    def threshold_of(self, guide: str) -> float | None:
        """The threshold of a guide's own; None where it has none, as scores that only rank have."""
        if guide == ALWAYS:
            return 0.5
        given = self.thresholds.get(guide)
        return 0.5 if given is None and scale_of(guide, self.guides, self.wing) == "probability" else given


def benchmark_settings(wing: Wing, base: type[BenchmarkSettings] = BenchmarkSettings) -> type[BenchmarkSettings]:
    """`base` with the benchmarks and guides of a domain.

    Raises:
        ValueError: the domain has no benchmarks.
    """
    own = benchmarks_of(wing)
    guide: Any = guide_type(wing)
    first = next(iter(own.kinds.values()))
    guides = {name: guide_of(values, wing) for name, values in own.guides.items()}
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "benchmark": (one_of(own.kinds), Field(first(), description="solutions whose steps are labelled")),
        "guides": (dict[str, guide], Field(guides, description="name -> judge: any guide of a search")),
    }
    return create_model("BenchmarkSettings", __base__=base, __module__=__name__, **fields)


def benchmarks_of(wing: Wing) -> Benchmarks:
    """The benchmarks of a domain, or an error that says that it has none."""
    if wing.benchmarks is None:
        raise ValueError(f"Domain {wing.name!r} brings no benchmarks (the capability `Benchmarks`).")
    return wing.benchmarks


class BenchmarkWork:
    """The items of one benchmark, and how each is done; a file of `shards/` is an item that is done.

    Args:
        settings: of the benchmark.
        shard_size: solutions an item; no result depends on it.
        load: reads trained reward models; none: `load_reward`.
    """

    def __init__(self, settings: Any, shard_size: int, load: Loader | None = None) -> None:
        self.settings, self.shard_size, self._load = settings, shard_size, load
        self.wing: Wing = settings.wing
        self.folder = settings.artifact("benchmark").folder

    def inputs(self) -> dict[str, Artifact]:
        """Train artifacts that are read, and those that settings name."""
        settings = self.settings
        trained = {f"train/{found.name}": found for found in self.guides.artifacts().values()}
        return trained | settings.named_artifacts(list(settings.guides.values()), unfinished=True)

    def prepare(self) -> None:
        """Check the inputs, and read the benchmark once.

        Raises:
            ArtifactError: a trained guide is missing or unfinished.
            ValueError: the benchmark cannot be read, or holds no solution with steps.
        """
        for source in self.inputs().values():
            if not source.finished:
                raise ArtifactError(f"{source.url}: expected a finished artifact, because a guide reads it. Make it.")
            source.open()
        if not self.folder.exists(SOLUTIONS):
            table, rejected = self.settings.benchmark.solutions()
            table, rejected = _usable(table, rejected)
            self.folder.write_table(REJECTED, rejected_table(rejected, "benchmark"))
            self.folder.write_table(SOLUTIONS, _drawn(table, self.settings.max_solutions, self.settings.seed))

    @cached_property
    def solutions(self) -> pa.Table:
        """The solutions that are judged."""
        return self.folder.read_table(SOLUTIONS).combine_chunks()

    @cached_property
    def guides(self) -> Guides:
        """The judges as reward models."""
        settings = self.settings
        return Guides(settings.guides, store=settings.store, wing=self.wing, load=self._load)

    def items(self) -> list[str]:
        """A guide and a piece of the solutions each."""
        parts = pieces(len(self.solutions), self.shard_size)
        return [f"{guide}/{part}" for guide in self.settings.guides for part in parts]

    def missing(self) -> list[str]:
        """Items that are not done."""
        done = {name.removeprefix("shards/").rsplit(".", 1)[0] for name in self.folder.files("shards")}
        return [item for item in self.items() if item not in done]

    left = missing

    def do(self, item: str) -> None:
        """Score the steps of one piece by one guide; a solution that fails alone is written with its error."""
        guide, _, part = item.rpartition("/")
        first, end = map(int, part.split("-"))
        rows = self.solutions.slice(first, end - first).combine_chunks()
        try:
            found = self._score(guide, rows)
        except Exception:  # one at a time: who is to blame is known, and the others are kept
            found = [one for i in range(len(rows)) for one in self._alone(guide, rows.slice(i, 1).combine_chunks())]
        self.folder.write_table(f"shards/{item}.parquet", pa.Table.from_pylist(found, schema=_schema()))

    def _alone(self, guide: str, row: pa.Table) -> list[Row]:
        try:
            return self._score(guide, row)
        except Exception as error:
            message = f"{guide}: {type(error).__name__}: {error}"
            return [{"id": row["id"][0].as_py(), "error": message, "scores": None} | dict.fromkeys(CHARGED, 0.0)]

    def _score(self, guide: str, rows: pa.Table) -> list[Row]:
        parents, children = benchmarks_of(self.wing).steps(rows)
        ledger = Ledger(len(rows))
        with ledger.recording():
            scores = metered_reward(self.guides[guide], self.wing.domain).score(parents, children)
        if not np.isfinite(scores).all():
            raise ValueError(f"expected finite scores, got {int((~np.isfinite(scores)).sum())} that are not")
        ends = np.cumsum([len(labels) for labels in rows["labels"].to_pylist()])
        split = np.split(np.asarray(scores, np.float64), ends[:-1])
        costs = {kind: ledger.spent[kind] for kind in CHARGED}
        return [
            {"id": name, "error": None, "scores": split[i].tolist()} | {kind: float(costs[kind][i]) for kind in CHARGED}
            for i, name in enumerate(rows["id"].to_pylist())
        ]

    def scored(self) -> Iterator[tuple[str, pa.Table]]:
        """Guide -> its rows, in the order of the solutions."""
        for guide in self.settings.guides:
            items = [item for item in self.items() if item.rpartition("/")[0] == guide]
            yield guide, pa.concat_tables([self.folder.read_table(f"shards/{item}.parquet") for item in items])


def finish(work: BenchmarkWork, seconds: float) -> Manifest:
    """From the items of work to tables, metrics and the manifest."""
    settings, folder = work.settings, work.folder
    tables, rejected, cost = _tables(work)
    for name, table in tables.items():
        folder.write_table(f"tables/{name}.parquet", table)
    folder.write_table("dead_letters.parquet", rejected)
    folder.write_json("metrics.json", _metrics(tables["benchmark"], settings))
    return settings.artifact("benchmark").finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=content_digest([tables["benchmark"], tables["scores"].drop_columns(["seconds"])]),
        inputs=work.inputs(),
        rows={name: len(table) for name, table in tables.items()} | {"dead_letters": len(rejected)},
        cost=cost | {"seconds": seconds},
        facts={
            "benchmark": settings.benchmark.kind,
            "solutions": len(work.solutions),
            "steps": sum(map(len, work.solutions["labels"].to_pylist())),
            "problems": len(work.solutions["cluster"].unique()),
        },
        scratch=("shards",),
    )


def _tables(work: BenchmarkWork) -> tuple[dict[str, pa.Table], pa.Table, dict[str, float]]:
    settings, solutions = work.settings, work.solutions
    judging = Judging(
        solutions,
        settings.benchmark,
        threshold_from=settings.threshold_from,
        confidence=settings.confidence,
        num_resamples=settings.num_resamples,
        seed=settings.seed,
    )
    labels = solutions["labels"].to_pylist()
    always = pa.table({"id": solutions["id"], "scores": [[1.0] * len(row) for row in labels]})
    figures = list(figure_rows(judging, Scored(ALWAYS, always, settings.threshold_of(ALWAYS))))
    scores, bad, cost = [], [], dict.fromkeys(CHARGED, 0.0)
    for guide, rows in work.scored():
        figures += figure_rows(judging, Scored(guide, rows, settings.threshold_of(guide)))
        scores.append(rows.add_column(0, "guide", pa.array([guide] * len(rows), pa.string())))
        bad += [Rejected(r["id"], r["error"], "") for r in rows.select(["id", "error"]).to_pylist() if r["error"]]
        cost = {kind: cost[kind] + float(np.sum(rows[kind].to_numpy())) for kind in CHARGED}
    rejected = pa.concat_tables([work.folder.read_table(REJECTED), rejected_table(bad, "benchmark")])
    tables = {
        "benchmark": table_of(figures),
        "references": table_of(vars(reference) for reference in settings.benchmark.references()),
        "scores": pa.concat_tables(scores),
    }
    return tables, rejected, cost


def _metrics(table: pa.Table, settings: BenchmarkSettings) -> dict[str, float]:
    """``<guide>/<figure>`` over all categories: at the threshold chosen on others, or at its own where that is all."""
    found: dict[str, float] = {}
    for row in table.to_pylist():
        if row["category"] != "all":
            continue
        suffix = "" if row["threshold"] == "chosen" else "_own_threshold"
        named = {key: value for key, value in row.items() if isinstance(value, float) and np.isfinite(value)}
        found |= {f"{row['guide']}/{name}{suffix}": value for name, value in named.items()}
    return found


def _usable(table: pa.Table, rejected: list[Rejected]) -> tuple[pa.Table, list[Rejected]]:
    """Solutions with a rated step and an id of their own; the others become dead letters."""
    seen: set[str] = set()
    good = []
    for i, (name, labels) in enumerate(zip(table["id"].to_pylist(), table["labels"].to_pylist(), strict=True)):
        error = "expected a step that is rated, got none" if not any(v is not None for v in labels) else ""
        error = error or (f"expected an id of its own, got {name!r} again" if name in seen else "")
        seen.add(name)
        good.append(not error)
        rejected = [*rejected, Rejected(name, error, str(table.slice(i, 1).to_pylist()[0]))] if error else rejected
    table = table.filter(pa.array(good, pa.bool_()))
    if not len(table):
        raise ValueError(
            f"benchmark.path: expected solutions with labelled steps, found none among {len(good) + len(rejected)} "
            f"rows{f': {rejected[0].error} ({rejected[0].id})' if rejected else ''}."
        )
    return table, rejected


def _drawn(table: pa.Table, most: int | None, seed: int) -> pa.Table:
    """At most so many solutions, evenly of each category, in the order of the table."""
    if most is None or most >= len(table):
        return table
    order = np.argsort(Rng.from_ids(seed, table["id"].to_pylist(), "benchmark").uniform(1)[:, 0])
    place: dict[str, int] = {}
    ranks = np.zeros(len(table), np.int64)
    categories = table["category"].to_pylist()
    for i in order:
        ranks[i] = place[categories[i]] = place.get(categories[i], -1) + 1
    return table.take(pa.array(np.sort(np.lexsort((order.argsort(), ranks))[:most])))


def _schema() -> pa.Schema:
    first = [("id", pa.string()), ("error", pa.string()), ("scores", pa.list_(pa.float64()))]
    return pa.schema([*first, *((kind, pa.float64()) for kind in CHARGED)])
