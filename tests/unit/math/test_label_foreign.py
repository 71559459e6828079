"""The label job on real problems with models it has never seen, and on bad input: counted, recorded, never fatal."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from stepward.core.artifacts import Artifact
from stepward.core.config import parse_config
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.math import Ending
from stepward.domains.math.engine.decoder import Decoded
from stepward.label import LabelWork, MineTask, MiningWork, finish, plan_mined, plan_mining
from stepward.runtime.labelling import LabelJob, LabelWorker, label_job, shipped
from unit.math.foreign_models import foreign_folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["qwen2", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GPT-2's tokenizer has no pad token."""
    return foreign_folder(tmp_path_factory.mktemp(request.param), request.param, padded=request.param == "qwen2")


def job(store: Path, model: Path, *settings: str) -> LabelJob:
    models = [f"{part}.{key}" for part in ("proposer", "mining.model")
              for key in (f"model={model}", "max_steps=3", "max_step_tokens=16")]  # fmt: skip
    few = ["labels.num_rollouts_train=2", "labels.num_rollouts_validation=2", "labels.num_rollouts_test=3"]
    return parse_config(label_job(find_wing("math")), ["domain=math", f"store={store}", *models, *few, *settings])


def run(settings: LabelJob) -> Artifact:
    """All phases of the job as its workers go through them, in this process."""
    artifact, identity = settings.artifact("label"), settings.identity()
    artifact.begin(identity)
    work, mining = LabelWork(artifact, identity), MiningWork(artifact, identity)
    plan_mining(settings, mining, settings.pool.mining_batch_size)
    for batch in mining.left():
        mining.commit(batch, *MineTask(settings)(mining.rows(batch)))
    plan_mined(settings, work, mining, settings.pool.batch_size)
    worker = LabelWorker(shipped(settings))
    for batch in work.left():
        assert worker({"item": [batch]})["error"] == [""]
    finish(settings, work, 0.0)
    return artifact


def test_gsm8k_with_a_foreign_model(model: Path, shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "gsm8k" / "test.jsonl").read_text().splitlines()[:6]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    settings = job(tmp_path, model, "problems.source=gsm8k", f"problems.path={tmp_path / 'test.jsonl'}",
                   "problems.file_split=test", "labels.log_rollouts=true")  # fmt: skip
    artifact = run(settings)
    manifest, folder = artifact.open(), artifact.folder
    labels = folder.read_table("labels")
    assert manifest.rows["test"] == manifest.rows["labels"] == len(labels) >= 12
    assert manifest.rows["dead_letters"] == 0
    assert folder.read_table("problems.parquet")["answer"].to_pylist()[:2] == ["18", "3"]
    assert labels["num_rollouts"].unique().to_pylist() == [3]
    log = folder.read_table("rollouts")
    assert len(log) == 3 * len(labels)
    finished = set(log["ending"].to_pylist())
    assert finished <= {Ending.ANSWERED, Ending.NO_ANSWER, Ending.OUT_OF_STEPS, Ending.LINE_TOO_LONG}
    assert Ending.LINE_TOO_LONG in finished, "random weights hardly ever break a line"
    metrics = folder.read_json("metrics.json")
    ended = Counter(dict(zip(labels["id"].to_pylist(), labels["ending"].to_pylist(), strict=True)).values())
    assert sum(num for name, num in metrics.items() if name.startswith("mined.")) == 6 * 2
    assert metrics["mined.line_too_long"] >= ended[Ending.LINE_TOO_LONG] > 0
    assert str(model) in manifest.identity["folders_sha256"]


BAD = [
    {"id": "fine", "question": "1+1?", "answer": "2"},
    {"id": "long", "question": "How many? " * 500, "answer": "2"},
    {"id": "no answer", "question": "1+1?"},
    {"id": "latex", "question": "What is $\\frac{1$?", "answer": "\\boxed{\\frac{1"},
    {"id": "odd", "question": "\ud800 ﷽ \u0000", "answer": "2"},
    "just text",
]


def test_bad_rows_are_counted_and_recorded(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [json.dumps(row | {"split": "train"} if isinstance(row, dict) else row) for row in BAD]
    path.write_text("\n".join([*rows, "{oops"]))
    artifact = run(job(tmp_path, model, "problems.source=file", f"problems.path={path}"))
    dead = artifact.folder.read_table("dead_letters.parquet").to_pylist()
    assert artifact.open().rows["dead_letters"] == len(dead)
    errors = {row["id"].split(":")[1]: row["error"] for row in dead if row["id"].startswith("mine.jsonl")}
    assert "answer" in errors["3"], "a row without an answer"
    assert {"6", "7"} <= set(errors), "rows that are no objects, and lines that are no JSON"
    labelled: dict[str, list[dict]] = {}
    for row in artifact.folder.read_table("labels").to_pylist():
        labelled.setdefault(row["problem_id"], []).append(row)
    assert labelled["fine"]
    assert [row["ending"] for row in labelled["long"]] == [Ending.OPEN, Ending.OUT_OF_CONTEXT]
    assert all(row["successes"] == 0 for row in labelled["long"] + labelled["latex"])
    assert artifact.folder.read_json("metrics.json")["mined.out_of_context"] == 2
    assert "surrogate" in errors["5"]


def test_a_model_that_says_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text ends at once: dead, without an answer, not solved."""
    settings = job(tmp_path, model, "problems.num_train=3", "problems.num_validation=1", "problems.num_test=1")
    task = settings.labels.task(settings, 64)
    decoder, end = task.proposer.engine.decoder, AutoTokenizer.from_pretrained(model).eos_token_id
    prefill = decoder.prefill

    def silent(*args: object) -> Decoded:
        logits = torch.full_like(prefill(*args).logits, -50.0)
        logits[:, end] = 50.0
        return Decoded(logits, None)

    monkeypatch.setattr(decoder, "prefill", silent)
    states = find_wing("math").states(settings.problems.problems("train", 0)[0])
    ends = task.proposer.complete(states, num_continuations=2, rng=Rng.from_seed(0, 3, "x"))
    assert ends.ended() == ["no_answer"] * 6
    assert ends.text.tolist() == [""] * 6
    assert task.verifier.outcome(ends).tolist() == [0.0] * 6


def test_pickled_weights_stop_the_job_with_the_remedy(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((model / name).read_bytes())
    torch.save({}, folder / "pytorch_model.bin")
    settings = job(tmp_path, folder, "problems.num_train=1", "problems.num_validation=1", "problems.num_test=1")
    artifact, identity = settings.artifact("label"), settings.identity()
    artifact.begin(identity)
    plan_mining(settings, mining := MiningWork(artifact, identity), 10)
    answer = LabelWorker(shipped(settings), "mine")({"item": [mining.left()[0]]})
    assert "safe_serialization=True" in answer["error"][0]
