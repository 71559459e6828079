"""Small finished artifacts of the number walk, made without any cluster, for tests of the stages after them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from stepward.core.artifacts import Artifact, content_digest
from stepward.core.wing import find_wing
from stepward.rewards.calibrators import fit_calibrators

POLICY = {"kind": "softmax", "temperature": 1.0}


def make_labels(
    root: Path, *, num_train: int = 40, num_test: int = 40, per_problem: int = 10, seed: int = 0
) -> Artifact:
    """Labels whose counts are drawn from the exact values: successes ~ Binomial(M, V^π)."""
    wing, artifact = find_wing("walk"), Artifact(str(root), "walk", "label", "default")
    source = wing.problems(num_train=num_train, num_validation=10, num_test=num_test)
    identity = {"proposer": POLICY, "sizes": [num_train, num_test, per_problem], "seed": seed}
    artifact.begin(identity)
    rng, problems, labels = np.random.default_rng(seed), [], []
    for split, rollouts in (("train", 64), ("validation", 256), ("test", 256)):
        table = source.problems(split, seed)[0]
        problems.append(table.append_column("split", pa.array([split] * len(table))))
        partial = wing.mining(per_problem=per_problem).mine(table, seed)
        exact = np.clip(wing.known.exact(wing.states(partial)), 0.0, 1.0)
        columns = {
            "split": [split] * len(partial),
            "successes": rng.binomial(rollouts, exact),
            "num_rollouts": np.full(len(partial), rollouts),
            "exact": exact,
            "status": ["ok"] * len(partial),
        }
        for name, values in columns.items():
            partial = partial.append_column(name, pa.array(values))
        artifact.folder.write_table(f"labels/{split}-000000.parquet", partial)
        labels.append(partial)
    artifact.folder.write_table("problems.parquet", pa.concat_tables(problems))
    rows = {"labels": sum(map(len, labels))} | {part["split"][0].as_py(): len(part) for part in labels}
    artifact.finish(identity=identity, seed=seed, digest=content_digest(labels), rows=rows)
    return artifact


def make_trained(root: Path, labels: Artifact, name: str = "prm") -> Artifact:
    """A finished train artifact: a small network with random weights, and calibrations fitted to the true values."""
    wing, artifact = find_wing("walk"), Artifact(str(root), "walk", "train", name)
    artifact.begin({})
    learner = wing.learners["mlp"](hidden_width=8, depth=1)
    torch.manual_seed(0)
    weights = {key: tensor.numpy() for key, tensor in learner.module().state_dict().items()}
    rows = labels.folder.read_table("labels/validation-000000.parquet")
    states = wing.states(rows)
    counts = rows["successes"].to_numpy(), rows["num_rollouts"].to_numpy()
    scores = learner.reward(weights).score(states, states)
    fitted = {kind: c.to_dict() for kind, c in fit_calibrators(scores, *counts, states.steps_left).items()}
    artifact.folder.write_weights("weights.safetensors", weights)
    described = {"kind": "mlp", "settings": learner.model_dump(mode="json"), "domain": "walk"}
    artifact.folder.write_json("reward.json", described)
    artifact.folder.write_json("calibration.json", fitted)
    artifact.finish(identity={}, seed=0, digest="random weights", inputs={"label": labels})
    return artifact
