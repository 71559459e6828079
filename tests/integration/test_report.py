"""The report stage from artifacts to the page: complete, with parts missing or damaged, and made again."""

import base64
import itertools
import re
import shutil

import pyarrow as pa
import pytest
from tests.report_artifacts import make_experiment, make_tuned, rename_guide, rewrite_table

from stepward.core.artifacts import Artifact
from stepward.runtime.reporting import ReportJob, run_report
from stepward.runtime.tracking import Tracking

FIGURES = {
    "frontier", "comparisons_distance", "comparisons_exact", "siblings", "reliability", "robustness",
    "robustness_solving", "parallelism", "search_tree", "training_prm", "trials",
}  # fmt: skip


def job(store, **changes):
    return ReportJob(**{"store": store, "tracking": Tracking(enabled=False)} | changes)


def page(store, name="default"):
    return Artifact(store, "walk", "report", name).folder.read_bytes("report.html").decode()


def section(html, title):
    return re.search(rf'<section id="{title}">(.*?)</section>', html, re.DOTALL).group(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_experiment(tmp_path_factory.mktemp("store"))


def copied(store, folder):
    """The artifacts of the experiment, without a report, in a store that a test may change."""
    shutil.copytree(store, folder / "store", ignore=lambda *_: {"report"})
    return str(folder / "store")


@pytest.fixture(scope="module")
def reported(store):
    return run_report(job(store))


def test_a_whole_experiment_gives_every_figure_and_no_gap(store, reported):
    artifact = Artifact(store, "walk", "report", "default")
    manifest = artifact.open()
    figures = {name.split("/")[1].removesuffix(".png") for name in manifest.files if name.startswith("figures/")}
    assert figures == FIGURES
    assert (reported.num_figures, reported.num_missing) == (len(FIGURES), 0)
    assert set(manifest.inputs) == {"label/default", "train/prm", "tune/default", "evaluate/default"}
    html = page(store)
    embedded = {base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)}
    assert embedded == {artifact.folder.read_bytes(f"figures/{name}.png") for name in figures}
    assert not re.search(r'(src|href|srcset)="(?!data:image/png|data:text/csv;base64|#)', html)
    assert "https://" not in html and "http://" not in html
    assert str(reported).splitlines()[1].endswith("walk/report/default/report.html")


def test_the_numbers_of_the_page_are_those_of_the_tables(store, reported):
    html, artifact = page(store), Artifact(store, "walk", "evaluate", "default")
    rows = artifact.folder.read_table("tables/comparisons.parquet").to_pylist()
    for reference in ("distance", "exact"):
        [row] = [
            r
            for r in rows
            if (r["search"], r["arm"], r["reference"], r["budget"]) == ("best_first", "prm", reference, 20)
        ]
        assert f"{row['mean']:.3f} against {row['reference_mean']:.3f} of 40 problems" in html
    assert artifact.manifest().facts["minimum_detectable_effect"].split(" (")[0] in html
    frontier = section(html, "solve-rate-against-cost")
    for row in artifact.folder.read_table("tables/frontier.parquet").to_pylist():
        if row["search"] == "best_first":
            assert f"{row['solve_rate']:.3f}\n[{row['low']:.3f},\xa0{row['high']:.3f}]" in frontier
    assert "6 children a node, states deduplicated" in frontier and "n = 40 test problems, seed 0" in frontier


def test_the_page_says_what_it_was_made_from_and_how_to_make_it_again(store, reported):
    made_from = section(page(store), "made-from")
    for stage, name in (("label", "default"), ("train", "prm"), ("tune", "default"), ("evaluate", "default")):
        assert Artifact(store, "walk", stage, name).manifest().fingerprint in made_from
        assert f"python jobs/{stage}.py name={name} store={store}" in made_from
    assert "budgets=[10, 20]" in made_from  # what differs from the defaults, and nothing else
    assert "confidence=" not in made_from
    assert "numpy" in made_from


def test_the_drawn_search_is_the_one_that_was_evaluated(store, reported):
    tree = Artifact(store, "walk", "report", "default").folder.read_table("tables/search_tree.parquet").to_pylist()
    outcomes = Artifact(store, "walk", "evaluate", "default").folder.read_table("tables/trials.parquet").to_pylist()
    [row] = [
        r for r in outcomes if (r["search"], r["arm"], r["problem_id"]) == ("best_first", "prm", tree[0]["problem_id"])
    ]
    start, target = re.fullmatch(r"s(-?\d+)t(-?\d+)", tree[0]["problem_id"]).groups()
    way = [node for node in tree if node["solution"]]
    assert way[0]["text"] == start and way[-1]["text"] == target
    assert [node["depth"] for node in way] == list(range(len(way)))
    assert all(below["parent"] == above["node"] for above, below in itertools.pairwise(way))
    assert 3 <= row["expansions_at_solve"] <= 8
    assert sum(node["expanded"] >= 0 for node in tree) <= row["expansions_at_solve"]
    assert len(tree) - 1 == row["scored"]


def test_making_it_again_leaves_it_alone_until_an_input_changes(store, tmp_path):
    store = copied(store, tmp_path)
    first = run_report(job(store))
    before = page(store)
    again = run_report(job(store))
    assert not first.was_finished and again.was_finished and page(store) == before
    tuned = Artifact(store, "walk", "tune", "default")
    rewrite_table(tuned, "trials.parquet", pa.table({"id": ["0000", "0001"], "validation_loss": [0.9, 0.8]}))
    changed = run_report(job(store))
    assert not changed.was_finished and page(store) != before
    assert "n = 2 trials" in section(page(store), "tuning")
    assert "n = 3 trials" in before and "behind by +0.1000 nats, 95 % interval +0.0500 to +0.1500" in before


def test_missing_parts_are_named_with_the_command_that_makes_them(store, tmp_path):
    store = copied(store, tmp_path)
    for stage in ("train", "tune"):
        shutil.rmtree(f"{store}/walk/{stage}")
    reported = run_report(job(store))
    html = page(store)
    assert reported.num_missing == 3  # the search that is drawn needs its guide
    for title, command in (("training", "jobs/train.py name=prm"), ("tuning", "jobs/tune.py name=default")):
        part = section(html, title)
        assert "Missing." in part and f"python {command} store={store}" in part
    assert "Missing." not in section(html, "labels") and "Missing." not in section(html, "made-from")
    assert str(reported).startswith("Reported in") and "3 sections lack their data" in str(reported)
    make_tuned(tmp_path / "store")
    assert run_report(job(store)).num_missing == 2  # what is there at last comes in by itself


def test_a_report_without_its_evaluation_is_an_error(store, tmp_path):
    """It was a page without a number, and no error."""
    store = copied(store, tmp_path)
    with pytest.raises(ValueError, match=r"(?s)expected a finished evaluation.*python jobs/evaluate\.py name=nothere"):
        run_report(job(store, evaluate="nothere", name="r3"))
    assert not Artifact(store, "walk", "report", "r3").folder.exists()


def test_a_damaged_part_costs_its_section_only(store, tmp_path):
    store = copied(store, tmp_path)
    evaluated = Artifact(store, "walk", "evaluate", "default")
    rewrite_table(evaluated, "tables/dividend.parquet", None)
    narrow = evaluated.folder.read_table("tables/ranking.parquet").select(["arm", "states"])
    rewrite_table(evaluated, "tables/ranking.parquet", narrow)
    (tmp_path / "store/walk/tune/default/trials.parquet").write_bytes(b"not parquet")
    reported = run_report(job(store))
    html = page(store)
    assert reported.num_missing == 3
    assert "holds no tables/dividend.parquet" in section(html, "parallelism-dividend")
    assert "could not be read" in section(html, "ranking-of-siblings")
    assert "was changed after it was written" in section(html, "tuning")
    assert "<img" in section(html, "solve-rate-against-cost")


def test_hostile_names_of_guides_stay_text(store, tmp_path):
    hostile = '<img src=x onerror="alert(1)">'
    store = copied(store, tmp_path)
    rename_guide(Artifact(store, "walk", "evaluate", "default"), "prm", hostile)
    run_report(job(store))
    html = page(store)
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=" in html


def test_nothing_at_all_is_an_error_that_says_how_to_begin(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)Nothing to report.*python jobs/label\.py"):
        run_report(job(str(tmp_path)))
