"""Search spaces: every kind of dimension against its law, determinism, and every way to get one wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from stepward.core.wing import find_wing
from stepward.train import train_settings
from stepward.tune import KINDS, Space, make_plan, read_space, tune_settings
from stepward.tune.dimensions import read
from stepward.tune.places import default_space, space_values

WALK = find_wing("walk")
TRAIN, TUNE = train_settings(WALK), tune_settings(WALK)
NO_ASHA = {"kind": "none"}


def write(folder: Path, content: Any) -> str:
    path = folder / "space.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def read_file(folder: Path, content: Any) -> Space:
    path = write(folder, content)
    return read_space(space_values(path, WALK), path, TRAIN)


def draw(dimension: dict[str, Any], num: int = 4000) -> list[Any]:
    space = Space({}, {"learner.depth": read(dimension)})
    return [trial["learner.depth"] for trial in space.draw(num, seed=3)]


def test_numbers_follow_their_laws() -> None:
    assert kstest(draw({"uniform": [2, 5]}), lambda x: (x - 2) / 3).pvalue > 1e-3
    logs = np.log(draw({"loguniform": [1e-4, 1e-1]}))
    assert kstest(logs, lambda x: (x - np.log(1e-4)) / np.log(1e3)).pvalue > 1e-3


@pytest.mark.parametrize("dimension", [{"integers": [2, 6]}, {"choice": [2, 3, 4, 5, 6]}])
def test_discrete_values_are_equally_likely(dimension: dict[str, Any]) -> None:
    values, counts = np.unique(draw(dimension), return_counts=True)
    assert values.tolist() == [2, 3, 4, 5, 6]
    assert chisquare(counts).pvalue > 1e-3


def test_grid_is_crossed_and_sampled() -> None:
    space = Space({}, {"a": read({"grid": [1, 2]}), "b": read({"uniform": [0, 1]}), "c": read({"grid": ["x", "y"]})})
    trials = space.draw(3, seed=0)
    assert sorted((t["a"], t["c"]) for t in trials) == sorted([(a, c) for a in (1, 2) for c in "xy"] * 3)
    assert len({t["b"] for t in trials}) == 12


def test_more_samples_and_more_dimensions_leave_the_draws_that_were_there() -> None:
    one = Space({}, {"a": read({"uniform": [0, 1]})})
    two = Space({}, {"b": read({"choice": [1, 2]}), "a": read({"uniform": [0, 1]})})
    few, many = one.draw(5, seed=1), two.draw(9, seed=1)
    assert [t["a"] for t in few] == [t["a"] for t in many[:5]]
    assert [t["a"] for t in few] != [t["a"] for t in one.draw(5, seed=2)]


@given(st.sampled_from(sorted(KINDS)), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_values_stay_within_their_ends(kind: str, point: float) -> None:
    value = read({kind: [2, 7]}).at(point)
    assert 2 <= value <= 7


def test_fixed_values_and_numbers_as_yaml_writes_them(tmp_path: Path) -> None:
    text = "optimisation.num_epochs: 3\noptimisation.learning_rate: {loguniform: [1e-3, 1e-2]}\n"
    space = read_file(tmp_path, text)
    assert space.fixed == {"optimisation.num_epochs": 3}
    assert space.dimensions["optimisation.learning_rate"].values == (1e-3, 1e-2)


def test_settings_of_a_trial() -> None:
    space = Space({"optimisation.num_epochs": 3, "objective.gamma": 1.5}, {})
    made = space.settings(TRAIN, {"seed": 7}, {"objective.kind": "focal", "learner.depth": 5})
    assert (made.seed, made.optimisation.num_epochs, made.learner.depth) == (7, 3, 5)
    assert (made.objective.kind, made.objective.gamma) == ("focal", 1.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"learner.hiden_width": {"grid": [1]}}, "did you mean 'learner.hidden_width'"),
        ({"learner.hiden_width": 3, "learner.depth": {"grid": [1]}}, "did you mean 'learner.hidden_width'"),
        ({"learner.depth": {"gird": [1]}}, "Did you mean 'grid'"),
        ({"learner.depth": {"grid": 3}}, "expected a list"),
        ({"learner.depth": {"grid": []}}, "at least one value"),
        ({"learner.depth": {"grid": [1], "choice": [2]}}, "expected one of"),
        ({"learner.depth": {"uniform": [3, 2]}}, "low < high"),
        ({"learner.depth": {"integers": [1.5, 3]}}, "whole numbers"),
        ({"optimisation.learning_rate": {"loguniform": [0, 1]}}, "0 < low"),
        ({"label": {"grid": ["a", "b"]}}, "same for all trials"),
        ({"learner.depth": 3}, "at least one dimension"),
        ({}, "at least one dimension"),
    ],
)
def test_spaces_that_cannot_be_read(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_file(tmp_path, content)


def test_every_wrong_name_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)learner.dept.*optimisation.learning_rat"):
        read_file(tmp_path, {"learner.dept": 1, "optimisation.learning_rat": {"grid": [1]}})


def test_a_space_that_is_not_there_says_which_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a YAML file or a space.*tune_spaces/walk_prm.yaml"):
        space_values(str(tmp_path / "none.yaml"), WALK)


def test_the_project_s_spaces_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = make_plan(TUNE())
    monkeypatch.chdir(tmp_path)
    assert make_plan(tune_settings(WALK)()).trials == here.trials


def test_a_package_brings_spaces_with_its_domain() -> None:
    own = {"small": {"learner.depth": {"grid": [2, 3]}}, "large": {"learner.depth": {"grid": [4]}}}
    assert space_values("large", replace(WALK, spaces=own)) == own["large"]
    assert default_space(replace(WALK, spaces=own)) == "small"
    assert default_space(replace(WALK, name="elsewhere")) is None
    with pytest.raises(ValueError, match=r"The domain 'walk' has large, small, tune_spaces/walk_prm.yaml"):
        space_values("medium", replace(WALK, spaces=own))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"learner.depth": {"integers": [0, 3]}}, {}, "learner.depth"),  # an end that is rarely drawn
        ({"learner.activation": {"choice": ["relu", "tanh"]}}, {}, "activation"),
        ({"objective.kind": {"choice": ["soft_bce", "focal"]}, "objective.gamma": 1.0}, {}, "objective.gamma"),
        ({"learner.depth": {"grid": [2, 3]}}, {"search": {"num_samples": 2}}, "expected 1, because all dimensions"),
        ({"learner.depth": {"grid": [2, 3]}}, {"search": {"kind": "optuna"}}, "has no grid"),
        ({"optimisation.num_epochs": {"integers": [2, 9]}}, {"scheduler": {"kind": "asha"}}, "equal epochs"),
        (
            {"learner.depth": {"integers": [2, 9]}, "optimisation.num_epochs": 2},
            {"scheduler": {"kind": "asha"}},
            "grace_epochs",
        ),
        ({"learner.kind": "hmm", "optimisation.num_epochs": 2, "seed": {"integers": [0, 9]}}, {}, "no effect"),
    ],
)
def test_sweeps_that_cannot_be(tmp_path: Path, content: Any, options: dict[str, Any], message: str) -> None:
    settings = TUNE.model_validate({"space": write(tmp_path, content), "scheduler": NO_ASHA, **options})
    with pytest.raises(ValueError, match=message):
        make_plan(settings)


def test_the_embedded_space(project_root: Path) -> None:
    """The sweep that `make demo` runs: architecture, learning rate, M and objective, all accepted by the train job."""
    plan = make_plan(TUNE(space=str(project_root / "tune_spaces" / "walk_prm.yaml")))
    assert len(plan.trials or []) == plan.num_trials == 16
    names = set(plan.space.dimensions)
    assert {"optimisation.learning_rate", "subset.num_rollouts", "objective", "learner.hidden_width"} <= names


def test_identity_is_what_is_in_the_file(tmp_path: Path) -> None:
    one = TUNE(space=write(tmp_path, "learner.depth: {grid: [2, 3]}\n")).identity()
    (tmp_path / "elsewhere").mkdir()
    same = TUNE(space=write(tmp_path / "elsewhere", "# a comment\nlearner.depth: {grid: [2, 3]}\n")).identity()
    other = TUNE(space=write(tmp_path, "learner.depth: {grid: [2, 4]}\n")).identity()
    assert one == same != other
