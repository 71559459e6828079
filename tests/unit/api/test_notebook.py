"""The platform in a notebook: every stage is a call, needs no Ray, and shows itself."""

import subprocess
import sys

import numpy as np
import pytest

import stepward as sw
from stepward.core.wing import find_wing

SMALL = {
    "problems.num_train": 60,
    "problems.num_validation": 10,
    "problems.num_test": 15,
    "mining.per_problem": 10,
    "labels.num_rollouts_train": 8,
    "labels.num_rollouts_validation": 8,
    "labels.num_rollouts_test": 8,
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return sw.label("walk", SMALL, store=str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def prm(labels):
    return sw.train(labels, {"optimisation.num_epochs": 1})


@pytest.fixture(scope="module")
def evaluation(labels, prm):
    search = {"search": {"kind": "best_first", "num_candidates": 6}, "budget": 50, "proposer": "enumerate"}
    return sw.evaluate(labels, prm=prm, searches={"best_first": search}, budgets=(10, 50), values=None, dividend=None)


def test_the_import_is_quick_and_brings_no_library():
    code = "import sys, stepward as sw; print([m for m in ('torch', 'ray', 'pyarrow', 'pydantic') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_function_and_the_package_of_its_name_are_both_there(labels):
    import stepward.label
    from stepward.label import LabelWork

    assert stepward.label.LabelWork is LabelWork
    assert callable(sw.label)
    with pytest.raises(AttributeError, match="its functions are evaluate, "):
        sw.lable()


def test_labels_are_a_table_and_show_themselves(labels):
    assert {"successes", "num_rollouts", "split"} <= set(labels.table.columns)
    assert len(labels.table) == len(labels)
    assert "labels: " in labels._repr_html_()
    assert not len(labels.dead_letters)


def test_labels_are_those_of_the_job(labels):
    from stepward.core.config import override
    from stepward.runtime.labelling import label_job

    job = override(label_job(find_wing("walk")), {"store": labels.artifact.root}, SMALL)
    assert job.artifact("label").manifest().identity == job.identity()


def test_what_is_made_is_not_made_again(labels):
    before = labels.artifact.manifest().created
    again = sw.label("walk", SMALL, store=labels.artifact.root)
    assert again.artifact.manifest().created == before


def test_a_misspelt_setting_is_named(labels):
    with pytest.raises(ValueError, match=r"did you mean 'labels.num_rollouts_train'"):
        sw.label("walk", {"labels.num_rollout_train": 8}, store=labels.artifact.root)


def test_guides_are_compared_in_words_and_a_picture(evaluation):
    assert {"prm", "greedy_path", "exact", "distance", "random"} <= set(evaluation.summary["arm"])
    assert "data:image/png;base64" in evaluation._repr_html_()
    assert {"arm", "problem_id", "solved"} <= set(evaluation.table().columns)
    with pytest.raises(ValueError, match=r"expected one of .*'trials'"):
        evaluation.table("trial")


def test_the_report_is_a_page(evaluation):
    page = sw.report(evaluation)
    assert "<iframe" in page._repr_html_()
    assert page.path.endswith("report.html")


def test_a_model_is_loaded_from_its_folder_and_scores_as_before(labels, prm):
    wing = find_wing("walk")
    states = wing.states(labels.artifact.folder.read_table(labels.artifact.folder.files("labels")[0]).slice(0, 9))
    assert np.array_equal(sw.load(prm.place).reward.score(states, states), prm.reward.score(states, states))
    assert "Process reward model" in prm._repr_html_()


def test_a_domain_without_texts_says_so(prm):
    with pytest.raises(ValueError, match="whose solutions are written as steps, such as 'math'"):
        prm.score("3 to 7", ["+3"])


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"expected a train artifact .* found \['notes.txt'\]"):
        sw.load(tmp_path)
