"""The train stage on Ray: one worker and two, resuming after kills, and what users may get wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from stepward.core.artifacts import Artifact, ArtifactError, content_digest
from stepward.core.config import parse_config
from stepward.domains.walk import wing
from stepward.evaluate import spearman
from stepward.runtime.training import TrainingError, TrainJob, TrainResult, run_train, train_job
from stepward.train import Binomial, Checkpoint, CountLearning, epochs, make_examples, read_labels, seeded_module

pytestmark = pytest.mark.ray
QUICK = ("tracking.enabled=false", "pool.cpus_per_worker=1", "optimisation.batch_size=256")


def write_labels(
    store: Path, *, num_train: int = 120, name: str = "default", seed: int = 0, drop: str | None = None
) -> None:
    """A label artifact with binomial labels drawn around the exact values."""
    artifact = Artifact(str(store), "walk", "label", name)
    artifact.begin({"seed": seed})
    problems = wing.problems(num_train=num_train, num_validation=40)
    rows, generator = {}, np.random.default_rng(seed)
    for split, m in (("train", 64), ("validation", 256)):
        table = wing.mining().mine(problems.problems(split, seed)[0], seed)
        exact = wing.known.exact(wing.states(table))
        columns = {
            "split": pa.array([split] * len(table)),
            "successes": pa.array(generator.binomial(m, exact), pa.int32()),
            "num_rollouts": pa.array(np.full(len(table), m), pa.int32()),
            "exact": pa.array(exact),
        }
        for column, values in columns.items():
            if column != drop:
                table = table.append_column(column, values)
        artifact.folder.write_table(f"labels/{split}.parquet", table)
        rows[split] = len(table)
        digest = content_digest([table])
    artifact.finish(identity={"seed": seed}, seed=seed, digest=digest, rows=rows)


def settings(store: Path, *overrides: str) -> TrainJob:
    return parse_config(train_job(wing), [f"store={store}", *QUICK, *overrides])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_labels(folder)
    return folder


def read_weights(store: Path, name: str) -> dict[str, np.ndarray]:
    return Artifact(str(store), "walk", "train", name).folder.read_weights("weights.safetensors")


@pytest.fixture(scope="module")
def one(ray_cluster: str, store: Path) -> TrainResult:
    """Trained by one worker. Starting workers is what costs time here, so tests share what they can."""
    return run_train(settings(store, "name=one", "optimisation.num_epochs=6"))


def test_one_worker_makes_a_whole_artifact(one: TrainResult, store: Path) -> None:
    made = one
    folder = Artifact(str(store), "walk", "train", "one").folder
    assert {path.split("/")[0] for path in folder.files()} == {
        "weights.safetensors", "reward.json", "calibration.json", "metrics.json", "history.parquet", "tables",
        "manifest.json",
    }  # fmt: skip
    described = folder.read_json("reward.json")
    assert (described["kind"], described["domain"]) == ("mlp", "walk")
    reward = wing.learners["mlp"](**described["settings"]).reward(folder.read_weights("weights.safetensors"))
    predictions = folder.read_table("tables/predictions.parquet")
    labels = Artifact(str(store), "walk", "label", "default").folder.read_table("labels/validation.parquet")
    states = wing.states(labels.sort_by("id"))
    np.testing.assert_allclose(predictions["prediction"].to_numpy(), reward.score(states, states), atol=1e-6)
    # What is reported of the model is what a reader can compute from its predictions.
    assert made.metrics["spearman_exact"] == pytest.approx(
        spearman(predictions["prediction"].to_numpy(), predictions["exact"].to_numpy())
    )
    assert made.metrics["spearman_exact"] > 0.9  # 4,800 rows and six epochs are enough for that
    history = folder.read_table("history.parquet")
    assert history["step"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert min(history["validation_loss"].to_pylist()) == made.metrics["validation_loss"]
    again = run_train(settings(store, "name=one", "optimisation.num_epochs=6"))
    assert again.was_finished
    assert again.manifest == made.manifest


@pytest.mark.slow
def test_two_workers_train_the_same_model_as_one(one: TrainResult, store: Path) -> None:
    """Shares of one global minibatch: the gradients agree but for the order of float32 sums.

    Each step adds a relative error of about 2^-24 per weight, and AdamW divides small gradients by their own size, so
    single weights may part; the loss, an average over 1,600 validation rows, stays within a thousandth.
    """
    two = run_train(settings(store, "name=two", "pool.num_workers=2", "optimisation.num_epochs=6"))
    assert two.metrics["validation_loss"] == pytest.approx(one.metrics["validation_loss"], rel=1e-3)


@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_last_epoch(ray_cluster: str, store: Path) -> None:
    """The weights are those of a training that nobody disturbed, and that no Ray was near, to the last bit."""
    wanted = settings(store, "name=killed", "optimisation.num_epochs=400")
    caught: list[TrainResult] = []
    thread = threading.Thread(target=lambda: caught.append(run_train(wanted)))
    thread.start()
    folder = store / "walk" / "train" / "killed"
    wait_for(lambda: len(list(folder.glob("run-*/checkpoint*"))) > 0, thread)
    victims = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
    assert victims
    for victim in victims:
        victim.kill()
    thread.join(timeout=300)
    assert caught, "the training did not recover"
    history = Artifact(str(store), "walk", "train", "killed").folder.read_table("history.parquet")
    assert history["step"].to_pylist() == list(range(1, 401))
    undisturbed = train_here(wanted)
    killed = read_weights(store, "killed")
    assert all(np.array_equal(killed[name], tensor.numpy()) for name, tensor in undisturbed.best.items())


def train_here(wanted: TrainJob) -> Checkpoint:
    """The same training in this process."""
    folder = wanted.artifact("label", wanted.label).folder
    train, validation = (read_labels(folder, wing, split) for split in ("train", "validation"))
    encode = wanted.learner.encode
    steps = epochs(
        seeded_module(wanted.learner.module, wanted.seed),
        make_examples(encode(train.states), train.successes, train.num_rollouts, wanted.objective),
        make_examples(encode(validation.states), validation.successes, validation.num_rollouts, Binomial(), pool=False),
        wanted.objective,
        wanted.optimisation,
        seed=wanted.seed,
    )
    return list(steps)[-1]


def hmm_settings(store: Path, *overrides: str) -> TrainJob:
    """The quickest training there is: one task."""
    quick = ("num_states=2", "num_iterations=2", "num_starts=1", "max_sequences=100")
    learner = ["learner.kind=hmm", *(f"learner.{setting}" for setting in quick)]
    return parse_config(train_job(wing), [f"store={store}", "tracking.enabled=false", *learner, *overrides])


def test_the_hidden_markov_baseline_is_fitted(ray_cluster: str, store: Path) -> None:
    made = run_train(hmm_settings(store, "name=hmm"))
    assert {"start", "transition", "emission", "success"} == set(read_weights(store, "hmm"))
    assert made.manifest.facts["num_parameters"] == 2 + 4 + 12 + 2
    assert "validation_loss" not in made.metrics


def test_missing_labels(ray_cluster: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"(?s)does not exist.*jobs/label\.py"):
        run_train(settings(tmp_path))


def test_labels_without_a_column(ray_cluster: str, tmp_path: Path) -> None:
    write_labels(tmp_path, num_train=5, drop="successes")
    with pytest.raises(ValueError, match=r"successes.*missing"):
        run_train(settings(tmp_path))


def test_groups_of_a_column_that_is_not_there(ray_cluster: str, tmp_path: Path) -> None:
    write_labels(tmp_path, num_train=5)
    with pytest.raises(ValueError, match="expected a column 'parent'"):
        run_train(settings(tmp_path, "objective.kind=pairwise", "objective.group_by=parent"))


def test_labels_that_changed_after_training(ray_cluster: str, store: Path, tmp_path: Path) -> None:
    write_labels(tmp_path, num_train=5)
    wanted = hmm_settings(tmp_path)
    run_train(wanted)
    Artifact(str(tmp_path), "walk", "label", "default").folder.delete("")
    write_labels(tmp_path, num_train=5, seed=1)
    with pytest.raises(ArtifactError, match=r"'label'.*has changed since"):
        run_train(wanted)


def test_a_training_that_raises_says_so(ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_labels(tmp_path, num_train=5)
    monkeypatch.setattr(CountLearning, "check", lambda self, settings: None)
    Artifact(str(tmp_path), "walk", "label", "default").folder.delete("labels/train.parquet")
    monkeypatch.setattr(Artifact, "open", Artifact.manifest)
    with pytest.raises(TrainingError, match="rows of the split 'train'"):
        run_train(hmm_settings(tmp_path))


@pytest.mark.slow
def test_a_training_that_diverges_says_what_to_change_and_frees_its_name(ray_cluster: str, store: Path) -> None:
    """Not tried again, though `pool.max_failures` is 3: one start of workers takes five seconds."""
    wild = ("name=wild", "optimisation.num_epochs=6", "optimisation.max_grad_norm=null")
    started = time.monotonic()
    with pytest.raises(TrainingError, match=r"(?s)diverged: the loss is .* of epoch 1.*learning_rate, now 5000"):
        run_train(settings(store, *wild, "optimisation.learning_rate=5000"))
    first = time.monotonic() - started
    assert not Artifact(str(store), "walk", "train", "wild").folder.exists()
    started = time.monotonic()
    made = run_train(settings(store, *wild))
    assert made.metrics["spearman_exact"] > 0.9
    assert first < 2 * (time.monotonic() - started), "it failed more than once"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learner.kind=cnn", "cnn"),
        ("learner.hidden_widht=3", "hidden_width"),
        ("optimisation.learning_rate=-1", "greater than 0"),
        ("objective.gamma=2", "objective"),
        ("learner.kind=hmm", "no effect"),  # QUICK sets a batch size
    ],
)
def test_settings_that_cannot_be(store: Path, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(store, override)


@pytest.mark.slow
def test_a_killed_driver_is_taken_up_by_the_same_command(project_root: Path, store: Path) -> None:
    """kill -9 of the job in the middle; the second run starts after the epochs that were reported."""
    command = [sys.executable, "jobs/train.py", f"store={store}", *QUICK, "name=driver", "optimisation.num_epochs=600",
               "cluster.num_cpus=1"]  # fmt: skip
    folder = store / "walk" / "train" / "driver"
    first = subprocess.Popen(command, cwd=project_root, start_new_session=True)
    family: list[psutil.Process] = []
    try:
        wait_for(lambda: len(list(folder.glob("run-*/checkpoint*"))) > 0, first)
        family = psutil.Process(first.pid).children(recursive=True)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        psutil.wait_procs(family, timeout=30)
    newest = max(folder.glob("run-*/checkpoint*/progress.json"), key=lambda path: path.stat().st_mtime)
    before = json.loads(newest.read_text())["history"]
    assert not (folder / "manifest.json").exists()
    subprocess.run(command, cwd=project_root, check=True, timeout=500)
    history = Artifact(str(store), "walk", "train", "driver").folder.read_table("history.parquet").to_pylist()
    assert [row["step"] for row in history] == list(range(1, 601))
    assert [row["validation_loss"] for row in history[: len(before)]] == [row["validation_loss"] for row in before]


def wait_for(condition, alive, limit: float = 240) -> None:
    """Until `condition` holds; fails at once if the thread or process it waits for has ended."""
    deadline = time.monotonic() + limit
    while not condition():
        ended = not alive.is_alive() if isinstance(alive, threading.Thread) else alive.poll() is not None
        assert not ended, "ended before it could be disturbed"
        assert time.monotonic() < deadline, f"nothing after {limit} s"
        time.sleep(0.05)
