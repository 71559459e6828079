"""Every stage after the labels (tests/unit/label) killed before, within and after each operation on storage.

The stages run as their jobs do, but in this process: pools and trainers of Ray are replaced by loops, and what they
compute is computed once. What Ray itself writes is disturbed in tests/integration.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kill_points import every_point, kill
from s3_server import s3_server
from stepward.core import registry
from stepward.core.artifacts import Artifact, ArtifactError, Manifest
from stepward.core.config import parse_config
from stepward.core.learning import Trained
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.runtime import evaluation, pools, reporting, training, tuning
from stepward.runtime.evaluation import evaluate_job, run_evaluate
from stepward.runtime.reporting import report_job, run_report
from stepward.runtime.training import run_train, train_job
from stepward.runtime.tuning import run_tune, tune_job
from stepward.train import state_arrays
from stepward.train import training as epochs
from stepward.tune import Trial
from walk_artifacts import make_labels, make_trained

SMALL = {
    "train": ["name=made", "optimisation.num_epochs=1", "learner.hidden_width=4", "learner.depth=1"],
    "tune": ["space=space.yaml", "search.num_samples=1", "scheduler.kind=none"],
    "evaluate": ["guides.exact.kind=exact", "guides.distance.kind=distance", "budgets=[5]", "num_resamples=100",
                 "searches.best_first.search.kind=best_first", "searches.best_first.budget=5", "values.max_states=9",
                 "values.max_parents=5", "dividend.num_parents=4", "dividend.num_candidates=[2]", "pool.shard_size=5"],
    "report": [],
}  # fmt: skip
JOBS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "train": (train_job, run_train),
    "tune": (tune_job, run_tune),
    "evaluate": (evaluate_job, run_evaluate),
    "report": (report_job, run_report),
}
OTHER = dict.fromkeys(JOBS, "seed=1") | {"report": "headline_budget=3"}
SAMPLED = 25  # every so manieth point in `make test`; all of them in `make test-slow`


def stage(name: str, store: Path | str, *more: str) -> Manifest:
    """Run a job in this process; what it made."""
    job_class, run = JOBS[name]
    words = [f"store={store}", "tracking.enabled=false", *SMALL[name], *more]
    settings = parse_config(job_class(find_wing("walk")), words)
    run(settings)
    return settings.artifact(name).open()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What every stage reads; and the stages without Ray."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "space.yaml").write_text("optimisation.num_epochs: 1\nlearner.hidden_width: {grid: [4, 5]}\n")
    made = make_labels(folder, num_train=6, num_test=10, per_problem=3)
    make_trained(folder, made)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(registry, "plugin_points", lru_cache(registry.plugin_points))
        patch.setattr(pools, "resources", lambda: {"CPU": 1.0, "GPU": 0.0})
        for module in (evaluation, training, tuning):
            patch.setattr(module, "connect", lambda cluster: nullcontext())
        patch.setattr(evaluation, "actor_pool", in_turn)
        patch.setattr(training, "_train_on_ray", trained)
        patch.setattr(tuning, "_sweep", swept)
        patch.setattr(reporting, "draw_searches", lambda store, wing, sources: None)
        pages: dict[int, Any] = {}
        build = reporting.build_page
        patch.setattr(
            reporting, "build_page", lambda sources, tree: once(pages, sources.headline, build, sources, tree)
        )
        stage("evaluate", folder)
        yield folder


def in_turn(worker: type, arguments: dict[str, Any], items: list[str], pool: Any) -> Iterator[dict[str, Any]]:
    """An actor pool of one actor, here."""
    actor = worker(**arguments)
    for item in items:
        yield {name: values[0] for name, values in actor({"item": [item]}).items()}


def once(known: dict[int, Any], key: int, make: Callable[..., Any], *arguments: Any) -> Any:
    if key not in known:
        known[key] = make(*arguments)
    return known[key]


WEIGHTS: dict[int, Any] = {}  # by seed


def weights(settings: Any) -> Trained:
    labels, validation = (settings.learning.read(settings, split) for split in ("train", "validation"))
    *_, last = epochs(settings.learning.task(settings, labels, validation, "cpu"))
    return Trained(state_arrays(last.best), last.progress.history, last.progress.best_epoch)


def trained(settings: Any, run: str) -> Trained:
    settings.artifact("train").folder.write_json(f"{run}/checkpoint_000000/progress.json", {})
    return once(WEIGHTS, settings.seed, weights, settings)


def swept(settings: Any, plan: Any, run: str) -> list[Trial]:
    settings.artifact("tune").folder.write_json(f"{run}/trial/checkpoint_000000/outcome.json", {})
    history = [{"epoch": 1, "train_loss": 0.5, "validation_loss": 0.4 + settings.seed}]
    return [
        Trial(
            id=f"{i:04d}",
            settings=values,
            status="finished",
            history=history,
            best_epoch=1,
            problem_losses=np.array([0.4 + settings.seed, 0.5]),
        )
        for i, values in enumerate(plan.trials)
    ]


@pytest.fixture(scope="module")
def expected(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Manifest]:
    """Stage -> what an undisturbed run makes."""

    @lru_cache
    def found(name: str) -> Manifest:
        return stage(name, copy(base, tmp_path_factory.mktemp("undisturbed"), name))

    return found


def copy(base: Path, folder: Path, name: str) -> Path:
    """A store of its own with all that a stage reads, and not what it makes."""
    store = folder / "store"
    shutil.copytree(base, store)
    if name == "evaluate":
        shutil.rmtree(store / "walk" / "evaluate")
    return store


def assert_whole(store: Path, name: str, expected: Manifest, point: tuple[int, str]) -> None:
    artifact = Artifact(str(store), "walk", name, expected.name)
    manifest = artifact.open()
    assert (manifest.digest, manifest.rows, set(manifest.files)) == (
        expected.digest,
        expected.rows,
        set(expected.files),
    ), point
    assert sorted(artifact.folder.files()) == sorted([*expected.files, "manifest.json"]), (name, point)
    assert not artifact.scratch.files(), (name, point)
    left = [str(path) for path in store.rglob("*.tmp")]
    assert not left, (name, point)


def disturb(name: str, base: Path, folder: Path, expected: Manifest, point: tuple[int, str], *, anew: bool) -> None:
    """Kill a stage at a point; give the same command again, or, after a stop of other settings, `overwrite=true`."""
    store, other, new = copy(base, folder, name), OTHER[name], "overwrite=true"
    if not anew:
        kill(lambda: stage(name, store), *point)
        stage(name, store)
        return assert_whole(store, name, expected, point)
    kill(lambda: stage(name, store, other), *point)
    with suppress(ArtifactError):  # where there is something to go on with: other settings are refused then
        stage(name, store)
    stage(name, store, new)
    assert_whole(store, name, expected, point)


def points_of(name: str, base: Path, folder: Path) -> list[tuple[int, str]]:
    store = copy(base, folder, name)
    return list(every_point(lambda: stage(name, store)))


@pytest.mark.parametrize("name", JOBS)
def test_some_kills_of_every_stage(name: str, base: Path, tmp_path: Path, expected: Callable[[str], Manifest]) -> None:
    points = points_of(name, base, tmp_path / "count")
    assert len(points) >= 12
    for number, point in enumerate(points[len(name) % SAMPLED :: SAMPLED]):
        disturb(name, base, tmp_path / str(number), expected(name), point, anew=bool(number % 2))


@pytest.mark.slow  # a minute of waiting for the store
def test_every_stage_makes_on_a_throttling_s3_what_it_makes_on_a_disk(
    base: Path, expected: Callable[[str], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, wanted = Folder(base), {name: expected(name) for name in JOBS}
    with s3_server(monkeypatch) as server:
        store = Folder("s3://store/sw")
        for path in here.files("walk"):
            if "/evaluate/" not in path and "/.locks/" not in path:
                store.write_bytes(path, here.read_bytes(path))
        server.slow_down, server.fail, server.lose = 17, 13, 11
        for name, manifest in wanted.items():
            made = stage(name, store.url)
            assert (made.digest, made.rows, set(made.files)) == (manifest.digest, manifest.rows, set(manifest.files))
            artifact = Artifact(store.url, "walk", name, made.name)
            assert set(artifact.folder.files()) == {*made.files, "manifest.json"} and not artifact.scratch.files()
        assert min(server.counts[kind] for kind in ("slow_down", "fail", "lose")) > 3, server.counts


@pytest.mark.slow  # some hundred runs of every stage
@pytest.mark.parametrize("name", JOBS)
def test_all_kills_of_every_stage(name: str, base: Path, tmp_path: Path, expected: Callable[[str], Manifest]) -> None:
    for number, point in enumerate(points_of(name, base, tmp_path / "count")):
        for anew in (False, True):
            disturb(name, base, tmp_path / f"{number}-{anew}", expected(name), point, anew=anew)
            shutil.rmtree(tmp_path / f"{number}-{anew}")


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_a_replacement_killed_anywhere_leaves_a_whole_artifact_or_none(
    name: str, base: Path, tmp_path: Path, expected: Callable[[str], Manifest]
) -> None:
    old, new = copy(base, tmp_path / "old", name), "overwrite=true"
    stage(name, old, OTHER[name])
    counted = tmp_path / "count"
    shutil.copytree(old, counted)
    for number, point in enumerate(every_point(lambda: stage(name, counted, new))):
        store = tmp_path / str(number)
        shutil.copytree(old, store)
        kill(lambda store=store: stage(name, store, new), *point)
        artifact = Artifact(str(store), "walk", name, expected(name).name)
        if artifact.finished:
            artifact.open()
        stage(name, store, new)
        assert_whole(store, name, expected(name), point)
        shutil.rmtree(store)
