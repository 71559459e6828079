"""Learning from given labels: a number a step, alternatives in groups, and one loop for them and for counts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import create_model

from stepward.core.artifacts import Artifact
from stepward.core.learning import Learning, Trained
from stepward.core.wing import find_wing
from stepward.domains.walk.rewards.mlp import WalkMLP
from stepward.statistics.ranking import sibling_accuracy
from stepward.train import TargetLearning, TrainSettings, state_arrays, training
from stepward.train.targets import misordered, problem_shares, read_targets
from walk_artifacts import make_labels

WING, LEARNING = find_wing("walk"), TargetLearning()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of the walk with the logarithm of the true value as the target, in place of counts."""
    root = tmp_path_factory.mktemp("targets")
    labels = make_labels(root)
    for name in labels.folder.files("labels"):
        table = labels.folder.read_table(name)
        target = np.log(table["exact"].to_numpy() + 0.01)
        table = table.drop_columns(["successes", "num_rollouts"]).append_column("label", pa.array(target))
        labels.folder.write_table(name, table)
    return root


def settings(store: Path, **changes: object) -> TrainSettings:
    learner = (WalkMLP, WalkMLP(hidden_width=16, depth=1))
    made = create_model("Settings", __base__=TrainSettings, learner=learner, **LEARNING.fields(WING))
    return made.model_validate({"store": str(store), "domain": "walk", **changes})


def labels_of(store: Path):
    return Artifact(str(store), "walk", "label", "default").folder


@pytest.mark.parametrize("objective", ["bradley_terry", "squared"])
def test_an_order_is_learned(store: Path, objective: str) -> None:
    wanted = settings(
        store, objective={"kind": objective}, optimisation={"num_epochs": 20, "batch_size": 64, "learning_rate": 1e-2}
    )
    LEARNING.check(wanted)
    train, validation = (LEARNING.read(wanted, split) for split in ("train", "validation"))
    task = LEARNING.task(wanted, train, validation, "cpu")
    *_, last = training(task)
    history = [row["validation_loss"] for row in last.progress.history]
    assert history[-1] < 0.2, "half of the pairs are in the wrong order by chance"
    assert LEARNING.losses(task, validation).mean() == pytest.approx(history[-1])
    judged = LEARNING.judge(wanted, Trained(state_arrays(last.best), last.progress.history, last.progress.best_epoch))
    # the reward model knows more than its network: 0 where arithmetic proves the target out of reach
    assert 1 - last.progress.best_loss - 1e-6 < judged.metrics["pairs"] < 1
    assert judged.rows == {"train": len(train), "validation": len(validation)}


def test_the_objects_of_all_domains_obey_the_protocol() -> None:
    from stepward.train import CountLearning

    assert isinstance(LEARNING, Learning) and isinstance(CountLearning(), Learning)
    assert isinstance(find_wing("pde").learning, Learning)


def test_pairs_in_the_wrong_order_by_hand() -> None:
    targets, groups = np.array([3.0, 1, 2, 5, 5, 0, 1]), np.array([0, 0, 0, 1, 1, 2, 2])
    wrong, firsts = misordered(np.array([1.0, 0, 2, 9, 8, 4, 4]), targets, groups)
    assert wrong.tolist() == pytest.approx([1 / 3, 1 / 2]) and firsts.tolist() == [0, 5]
    rng = np.random.default_rng(0)
    scores, truths, members = rng.normal(size=60), rng.integers(0, 4, 60).astype(float), rng.integers(0, 9, 60)
    expected = sibling_accuracy(scores, truths, members, rng=rng).value
    assert 1 - misordered(scores, truths, members)[0].mean() == pytest.approx(expected)


def test_shares_of_problems_have_the_loss_as_their_mean() -> None:
    shares = problem_shares(np.array([1.0, 0.0, 0.5, 0.5]), ["b", "a", "b", "b"])
    assert shares.tolist() == [0.0, 1.0] and shares.mean() == 0.5


def test_a_subset_depends_on_ids_alone(store: Path) -> None:
    small, large = (LEARNING.read(settings(store, subset={"num_rows": n}), "train") for n in (10, 40))
    assert len(small) == 10 and set(small.table["id"].to_pylist()) < set(large.table["id"].to_pylist())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t, "'label'.*is missing"),
        (lambda t: t.append_column("label", pa.array(np.zeros(len(t)))), "no order to learn"),
        (lambda t: t.append_column("label", pa.array(np.full(len(t), np.nan))), "finite"),
    ],
)
def test_labels_that_cannot_be_learned_from(store: Path, tmp_path: Path, spoil, message: str) -> None:
    folder = Artifact(str(tmp_path), "walk", "label", "default").folder
    folder.write_table(
        "labels/train.parquet",
        spoil(labels_of(store).read_table("labels/train-000000.parquet").drop_columns(["label"])),
    )
    with pytest.raises(ValueError, match=message):
        read_targets(folder, WING, "train")
