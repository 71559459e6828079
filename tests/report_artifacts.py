"""Finished artifacts of a small number-walk experiment, every stage made in this process, for tests of the report."""

import json
from pathlib import Path

import pyarrow as pa
import torch

from stepward.core.artifacts import Artifact
from stepward.core.config import validate
from stepward.core.wing import find_wing
from stepward.evaluate.settings import evaluate_settings
from stepward.evaluate.stage import finish
from stepward.evaluate.work import EvaluateWork
from stepward.rewards.calibration import TemperatureScaling
from tests.walk_artifacts import make_labels

SMALL = {
    "budgets": (10, 20),
    "searches": {
        "best_first": {"search": {"kind": "best_first"}, "budget": 40},
        "best_first_steps_x2": {"search": {"kind": "best_first"}, "budget": 40, "step_factor": 2.0},
        "beam": {"search": {"kind": "beam", "width": 2, "num_candidates": 6}, "budget": 20, "guides": ("prm",)},
    },
    "values": {"max_states": 150, "max_parents": 60},
    "dividend": {"num_parents": 40, "num_candidates": (2, 4)},
    "num_resamples": 200,
}


def make_experiment(root: Path) -> str:
    """Label, train (a network with random weights: no report depends on its quality), tune and evaluate artifacts."""
    make_labels(root)
    make_trained(root)
    make_tuned(root)
    make_evaluated(root)
    return str(root)


def make_trained(root: Path) -> Artifact:
    learner = find_wing("walk").learners["mlp"](hidden_width=8, depth=1)
    artifact = Artifact(str(root), "walk", "train", "prm")
    artifact.begin({})
    torch.manual_seed(0)
    module = learner.module()
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    artifact.folder.write_weights("weights.safetensors", weights)
    described = {"kind": learner.kind, "settings": learner.model_dump(mode="json"), "domain": "walk"}
    artifact.folder.write_json("reward.json", described)
    artifact.folder.write_json("calibration.json", {"temperature": TemperatureScaling(1.5, "probabilities").to_dict()})
    artifact.folder.write_json("metrics.json", {"validation_loss": 0.55})
    history = pa.table({"step": [1, 2, 3], "train_loss": [0.6, 0.5, 0.4], "validation_loss": [0.6, 0.55, 0.57]})
    artifact.folder.write_table("history.parquet", history)
    artifact.finish(identity={}, seed=0, digest="weights", facts={"best_epoch": 2}, cost={"seconds": 1.0})
    return artifact


def make_tuned(root: Path) -> Artifact:
    artifact = Artifact(str(root), "walk", "tune", "default")
    artifact.begin({})
    trials = pa.table(
        {
            "id": ["0000", "0001", "0002"],
            "config/objective": ['{"kind": "soft_bce"}', '{"kind": "focal", "gamma": 1.0}', '{"kind": "soft_bce"}'],
            "config/optimisation.learning_rate": [1e-3, 3e-3, 1e-2],
            "validation_loss": [0.3, 0.2, None],
        }
    )
    artifact.folder.write_table("trials.parquet", trials)
    facts = {"winner": "0001", "next": {"trial": "0000", "behind": 0.1, "low": 0.05, "high": 0.15}}
    artifact.folder.write_bytes("best.yaml", b"optimisation:\n  learning_rate: 0.003\n")
    artifact.finish(identity={}, seed=0, digest="trials", facts=facts)
    return artifact


def make_evaluated(root: Path) -> Artifact:
    guides = {"prm": {"kind": "trained", "artifact": "prm"}} | {k: {"kind": k} for k in ("exact", "distance", "random")}
    given = SMALL | {"guides": guides, "references": ("distance", "exact"), "store": str(root)}
    settings = validate(evaluate_settings(find_wing("walk")), given)
    artifact = settings.artifact("evaluate")
    artifact.begin(settings.identity())
    work = EvaluateWork(settings, shard_size=1000)
    work.prepare()
    for item in work.items():
        work.do(item)
    finish(work, 1.0)
    return artifact


def rewrite_table(artifact: Artifact, name: str, table: pa.Table | None) -> None:
    """Exchange or remove one file of a finished artifact, manifest included, as another version might have."""
    manifest = artifact.manifest()
    if table is None:
        artifact.folder.delete(name)
    else:
        artifact.folder.write_table(name, table)
    artifact.folder.delete("manifest.json")
    kept = {"identity": manifest.identity, "seed": manifest.seed, "facts": manifest.facts, "cost": manifest.cost}
    artifact.finish(**kept, digest=f"{manifest.digest} without {name}")


def rename_guide(evaluated: Artifact, old: str, new: str) -> None:
    """Give a guide another name in the manifest and in all tables; folders keep theirs."""
    manifest = evaluated.manifest()
    for path in [path for path in manifest.files if path.startswith("tables/")]:
        table = evaluated.folder.read_table(path)
        for column in {"arm", "guide"} & set(table.column_names):
            names = [new if value == old else value for value in table[column].to_pylist()]
            table = table.set_column(table.column_names.index(column), column, pa.array(names, pa.string()))
        evaluated.folder.write_table(path, table)
    identity = json.loads(json.dumps(manifest.identity).replace(json.dumps(old), json.dumps(new)))
    identity["guides"][new]["artifact"] = old
    evaluated.folder.delete("manifest.json")
    evaluated.finish(identity=identity, seed=0, digest="renamed", facts=manifest.facts, cost=manifest.cost)
