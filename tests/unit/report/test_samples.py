"""The report of choices among samples: what its sentences claim, and that sections come from their tables alone."""

import numpy as np
import pyarrow as pa
import pytest

from stepward.core.artifacts import Artifact
from stepward.evaluate.samples.choices import SampleOutcomes, comparison_rows, gap_rows, rate_rows, steering_rows
from stepward.evaluate.samples.settings import SampleStudy
from stepward.report import build_page, read_sources, render
from stepward.report.page import Gap

STUDY = SampleStudy(sizes=(1, 2, 4, 8), aggregations=("last",), budgets=(4, 8), budget=8)
NUM = 60


def outcomes() -> SampleOutcomes:
    """Every problem has right answers among its last six samples; the guide knows them and length prefers the first."""
    rng, rows, spent = np.random.default_rng(0), [], []
    for p in range(NUM):
        for j in range(8):
            right = bool(j >= 2 and rng.random() < 0.5)
            rows.append(
                {"problem_id": f"p{p:02d}", "sample": j, "complete": True, "answer": "1" if right else str(2 + j % 2)}
                | {"right": right, "prm/last": 0.9 if right else 0.1, "length/last": -float(j)}
            )
        for n in STUDY.sizes:
            for arm, flops in (("", 100.0), ("prm", 100.0), ("length", 0.0)):
                row = {"problem_id": f"p{p:02d}", "size": n, "arm": arm, "flops": n * flops}
                spent.append(row | {"generated_tokens": float(n), "scored_tokens": float(n)})
    tables = pa.Table.from_pylist(rows), pa.Table.from_pylist(spent)
    return SampleOutcomes(*tables, STUDY, no_votes=frozenset({"length"}))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    artifact, found = Artifact(str(root), "math", "evaluate", "default"), outcomes()
    guides = {"prm": {"kind": "trained", "artifact": "prm"}, "length": {"kind": "length"}}
    search = {"search": {"kind": "beam"}, "budget": 64, "proposer": None, "guides": ["prm"]}
    identity = {"guides": guides, "searches": {"beam": search}, "references": [], "split": "test", "proposer": "lm"}
    artifact.begin(identity | {"samples": STUDY.model_dump(mode="json")})
    solved = {"solved": np.arange(NUM) % 2 == 0, "flops": np.full(NUM, 900.0)}
    statistics = {"confidence": 0.95, "num_resamples": 300}
    rng = np.random.default_rng(0)
    tables = {
        "samples": list(rate_rows(found, 0.95)),
        "matched": list(comparison_rows(found, rng, **statistics)),
        "gaps": list(gap_rows(found, rng, **statistics)),
        "steering": list(steering_rows(found, {("beam", "prm", "best"): solved}, rng, **statistics)),
        "costs": [{"search": "beam", "arm": "prm", "flops": 900.0, "solve_rate": 0.5}],
        "trials": [{"search": "beam", "arm": "prm", "problem_id": name} for name in found.problem_ids],
    }
    for name, rows in tables.items():
        artifact.folder.write_table(f"tables/{name}.parquet", pa.Table.from_pylist(rows))
    artifact.finish(identity=identity | {"samples": STUDY.model_dump(mode="json")}, seed=0, digest="made by hand")
    others = {stage: Artifact(str(root), "math", stage, "default") for stage in ("label", "tune")}
    return build_page(read_sources(evaluate=artifact, trains=[], **others)), tables


def test_the_answer_is_the_comparison_at_the_budget_chosen_beforehand(page):
    made, tables = page
    rows = [row for row in tables["matched"] if row["main"]]
    assert len(made.answer) == 1 + len(rows) + 1  # before them the rivals, after them what eight samples come to
    assert "At the FLOPs of 8 plain samples, prm (vote last of 4) solves more problems than majority" in made.answer[1]
    assert made.answer[-1].startswith("With 8 samples each")
    assert "computation" in made.title


def test_sections_of_samples_come_first_and_those_without_truth_are_left_out(page):
    titles = [section.title for section in page[0].sections]
    assert titles[1:4] == ["Solve rate against computation", "At equal computation", "Searches that steer"]
    assert "Other step budgets" not in titles
    assert "Labels against the truth" not in titles
    for section in page[0].sections[:3]:
        assert not [block for block in section.blocks if isinstance(block, Gap)], section.title


def test_every_number_of_samples_is_charged_its_reading(page):
    html = render(page[0])
    assert "1,600" in html  # FLOPs of eight samples, read by the guide
    assert "compute_frontier" in {picture.name for picture in page[0].pictures}
