"""Kinds of label: what wings bring, what a package adds, and what is refused."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pytest

from stepward.core import registry
from stepward.core.config import Config, parse_config
from stepward.core.labels import LabelKind, LabelTask, Summary
from stepward.core.wing import find_wing, wing_names
from stepward.label import LabelWork, finish, label_kinds, label_settings, plan, salvage

SMALL = ["problems.num_train=3", "problems.num_validation=1", "problems.num_test=1", "mining.per_problem=4"]


class Budget(Config):
    """A label that needs no rollout: whether at least so many steps are left."""

    POOL: ClassVar[dict[str, int]] = {"batch_size": 5}
    whole_problems: ClassVar[bool] = False

    kind: Literal["budget"] = "budget"
    least: int = 5

    def check(self, states: Any) -> None:
        if not hasattr(states, "steps_left"):
            raise ValueError("labels.kind=budget: expected states with steps_left")

    def task(self, settings: Any, in_flight: int) -> "BudgetTask":
        return BudgetTask(self.least)

    def summary(self, labels: Any) -> Summary:
        rows = sum(len(part) for part in labels.labels(["id"]))
        return Summary({"labels": rows}, {})


class BudgetTask:
    whole = None

    def __init__(self, least: int) -> None:
        self.least = least

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Any]]:
        done, bad = salvage(self.label, rows)
        return pa.concat_tables([self.no_labels(rows), *done]), bad

    def label(self, rows: pa.Table) -> pa.Table:
        enough = [int(left >= self.least) for left in rows["steps_left"].to_pylist()]
        columns = {"successes": enough, "num_rollouts": [1] * len(rows)}
        for name, values in columns.items():
            rows = rows.append_column(name, pa.array(values, pa.int32()))
        return rows.append_column("status", pa.array(["ok"] * len(rows), pa.string()))

    def no_labels(self, rows: pa.Table) -> pa.Table:
        return self.label(rows.slice(0, 0))


class Offer:
    """An entry point, as an installed package would have it."""

    name = "budget"

    def load(self) -> type[Config]:
        return Budget


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package offered the kind."""
    ours = registry.entry_points
    of = {"stepward.labels.walk": [Offer()]}
    monkeypatch.setattr(registry, "entry_points", lambda group: [*ours(group=group), *of.get(group, [])])


@pytest.mark.parametrize("name", wing_names())
def test_every_kind_of_every_wing_obeys_the_protocol(name: str) -> None:
    for kind, settings in label_kinds(find_wing(name)).items():
        made = settings()
        assert isinstance(made, LabelKind)
        assert made.kind == kind


def test_a_package_adds_a_kind_that_the_stage_runs_like_its_own(offered: None, tmp_path: Path) -> None:
    wing = find_wing("walk")
    assert list(label_kinds(wing)) == ["continuations", "budget"], "the wing's own stays the default"
    values = [f"store={tmp_path}", "labels.kind=budget", "labels.least=7", *SMALL]
    settings = parse_config(label_settings(wing), values)
    work = LabelWork(settings.artifact("label"), settings.identity())
    work.artifact.begin(settings.identity())
    plan(settings, work, 6)
    task = settings.labels.task(settings, 10)
    assert isinstance(task, LabelTask)
    for batch in work.left():
        work.begin(batch)
        work.commit(batch, *task(work.rows(batch)))
    manifest = finish(settings, work, 0.0)
    table = work.artifact.folder.read_table("labels")
    assert manifest.rows["labels"] == len(table) == 20
    assert table["successes"].to_pylist() == [int(left >= 7) for left in table["steps_left"].to_pylist()]


def test_an_unknown_kind_says_which_there_are(offered: None) -> None:
    with pytest.raises(ValueError, match=r"labels.kind: expected one of continuations, budget, got"):
        parse_config(label_settings(find_wing("walk")), ["labels.kind=budgets"])
