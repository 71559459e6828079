"""The evaluate stage as its job runs it, on a local Ray cluster: once, again, resumed, and with bad input."""

import json

import pytest
import ray
from tests.walk_artifacts import make_labels, make_trained

from stepward.core.artifacts import Artifact, ArtifactError
from stepward.core.config import parse_config
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.evaluate.stage import finish
from stepward.evaluate.work import EvaluateWork
from stepward.runtime.evaluation import EvaluatePool, evaluate_job, run_evaluate
from stepward.runtime.scorers import ScorerPool, remote_loader, scorers
from stepward.runtime.tracking import Tracking

pytestmark = pytest.mark.ray
Job = evaluate_job(find_wing("walk"))
TABLES = {
    "trials", "frontier", "comparisons", "searches", "costs",
    "ranking", "calibration", "reliability", "robustness", "dividend", "coverage",
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    make_labels(root)
    return str(root)


def job(store, **changes):
    few = {"max_states": 100, "max_parents": 40}
    searches = {
        "best_first": {"search": {"kind": "best_first"}, "budget": 50},
        "dvts": {"search": {"kind": "dvts"}, "budget": 40, "proposer": "softmax", "guides": ("exact",)},
    }
    defaults = {
        "store": store,
        "guides": {"exact": {"kind": "exact"}, "distance": {"kind": "distance"}},
        "budgets": (10, 50),
        "searches": searches,
        "values": few,
        "dividend": {"num_parents": 40, "num_candidates": (2,)},
        "num_resamples": 500,
        "pool": EvaluatePool(num_actors=2, shard_size=11),
        "tracking": Tracking(enabled=False),
    }
    return Job(**defaults | changes)


@pytest.fixture(scope="module")
def evaluated(store, ray_cluster):
    return run_evaluate(job(store))


def test_the_artifact_holds_every_table_and_one_run_a_guide(store, evaluated):
    artifact = Artifact(store, "walk", "evaluate", "default")
    manifest = artifact.open()
    assert {
        name.split("/")[1].removesuffix(".parquet") for name in manifest.files if name.startswith("tables/")
    } == TABLES
    assert not any(name.startswith("shards/") for name in artifact.folder.files())
    assert set(manifest.inputs) == {"label"}
    assert manifest.facts["split"] == "test"
    assert "Minimum detectable difference" in manifest.facts["minimum_detectable_effect"]
    metrics = artifact.folder.read_json("metrics.json")
    assert metrics["exact/minus_distance_at_50"] == pytest.approx(
        metrics["exact/solve_rate_at_50"] - metrics["distance/solve_rate_at_50"]
    )
    own = artifact.folder.read_json("runs/exact/metrics.json")
    assert own["answer/solve_rate_at_50"] == metrics["exact/solve_rate_at_50"]
    assert len(own) <= 12 and next(iter(own)).startswith("answer/") and "answer/solve_rate_at_50_low" in own
    ranks = [artifact.folder.read_json(f"runs/{arm}/tags.json")["stepward.rank"] for arm in ("exact", "distance")]
    assert ranks == ["001", "002"]
    assert set(artifact.folder.read_json("headlines.json")) == {"answer/exact", "answer/distance", "num_problems"}
    assert json.dumps(metrics)  # plain numbers throughout
    assert "2 arms on 40 test problems" in str(evaluated)


def test_other_shards_in_one_process_give_the_same_content(store, evaluated):
    settings = job(store, name="alone")
    work = EvaluateWork(settings, shard_size=40)
    settings.artifact("evaluate").begin(settings.identity())
    work.prepare()
    for item in reversed(work.left()):
        work.do(item)
    assert finish(work, 0.0).digest == evaluated.manifest.digest


def test_a_finished_job_ends_at_once_and_changes_nothing(store, evaluated, monkeypatch):
    def never(*_):
        raise AssertionError("a finished job must not connect to a cluster")

    monkeypatch.setattr("stepward.runtime.evaluation.connect", never)
    again = run_evaluate(job(store))
    assert again.was_finished
    assert again.manifest == evaluated.manifest
    with pytest.raises(ArtifactError, match="is finished with other settings"):
        run_evaluate(job(store, budgets=(10,)))


def test_a_stopped_run_goes_on_with_what_is_left(store, ray_cluster):
    settings = job(store, name="stopped")
    settings.artifact("evaluate").begin(settings.identity())
    work = EvaluateWork(settings, settings.pool.shard_size)
    work.prepare()
    done = [item for item in work.items() if item.startswith("trials/best_first/exact")]
    for item in done:
        work.do(item)
    # A mark that only survives where the item is not done again.
    path = f"shards/{done[0]}.parquet"
    table = work.folder.read_table(path)
    marked = table.set_column(table.column_names.index("seconds"), "seconds", [[777.0] * len(table)])
    work.folder.write_table(path, marked)
    assert run_evaluate(settings).manifest.rows["trials"] == 3 * 40
    outcomes = Artifact(store, "walk", "evaluate", "stopped").folder.read_table("tables/trials.parquet")
    assert outcomes["seconds"].to_pylist().count(777.0) == 11


@pytest.mark.slow  # many processes of Ray, a quarter of a minute on quiet cores
def test_scorers_of_their_own_give_what_workers_give_that_score_themselves(tmp_path, ray_cluster):
    """One worker that searches and one that scores: same outcomes, same cost but for the seconds, and a scorer that
    dies between two calls is started again."""
    labels = make_labels(tmp_path)
    make_trained(tmp_path, labels)
    guides = {
        "prm": {"kind": "trained", "artifact": "prm", "calibration": "temperature"},
        "both": {"kind": "composite", "parts": {"prm": {"transform": "log"}, "distance": {"weight": 0.1}}},
        "distance": {"kind": "distance"},
    }
    searches = {"best_first": {"search": {"kind": "best_first"}, "budget": 20}}
    given = {"guides": guides, "searches": searches, "budgets": (10, 20)}
    alone = job(str(tmp_path), **given, name="alone")
    work = EvaluateWork(alone, shard_size=40)
    alone.artifact("evaluate").begin(alone.identity())
    work.prepare()
    for item in work.items():
        work.do(item)
    expected = finish(work, 0.0)
    pool = EvaluatePool(num_actors=1, shard_size=20, scorers=ScorerPool(num_actors=1, cpus_per_actor=0.5))
    served = run_evaluate(job(str(tmp_path), **given, name="served", pool=pool))
    assert served.manifest.digest == expected.digest
    folder = Artifact(str(tmp_path), "walk", "evaluate", "served").folder
    outcomes, wanted = folder.read_table("tables/trials.parquet"), work.folder.read_table("tables/trials.parquet")
    for kind in ("scored", "scored_tokens", "flops"):
        assert outcomes[kind].to_pylist() == wanted[kind].to_pylist()

    with scorers(ScorerPool(num_actors=1, cpus_per_actor=0.5), "walk") as actors:
        wing, url = find_wing("walk"), Artifact(str(tmp_path), "walk", "train", "prm").folder.url
        reward = remote_loader(actors, first=7)(Folder(url), wing)
        states = wing.states(wing.problems(num_test=5).problems("test", 0)[0])
        before = reward.score(states, states)
        # A study of samples counts what a text costs before anything was scored; that ended the evaluation of math.
        fresh = remote_loader(actors, first=7)(Folder(url), wing)
        assert fresh.charged_tokens(states.take([0, 2])).tolist() == [1, 1]
        ray.kill(actors[0], no_restart=False)
        assert reward.score(states, states).tolist() == before.tolist()


def test_missing_and_changed_inputs_are_named(tmp_path, ray_cluster):
    with pytest.raises(ArtifactError, match=r"label/default: expected a finished walk label artifact"):
        run_evaluate(job(str(tmp_path)))
    make_labels(tmp_path, num_train=5, num_test=5)
    trained = {"prm": {"kind": "trained", "artifact": "absent"}}
    with pytest.raises(ArtifactError, match=r"train/absent: expected a finished walk train artifact"):
        run_evaluate(
            job(
                str(tmp_path),
                name="other",
                guides=trained,
                searches={"a": {"search": {"kind": "best_first"}, "budget": 5}},
            )
        )


def test_settings_that_do_not_exist_are_errors():
    with pytest.raises(ValueError, match=r"did you mean 'num_problems'"):
        parse_config(Job, ["num_problem=3"])
    with pytest.raises(ValueError, match=r"split"):
        parse_config(Job, ["split=train"])
