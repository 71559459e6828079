"""Small finished label artifacts of the number walk, made without any cluster, for tests of the stages after it."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from stepward.core.artifacts import Artifact, content_digest
from stepward.core.wing import find_wing

POLICY = {"kind": "softmax", "temperature": 1.0}


def make_labels(
    root: Path, *, num_train: int = 40, num_test: int = 40, per_problem: int = 10, seed: int = 0
) -> Artifact:
    """Labels whose counts are drawn from the exact values: successes ~ Binomial(M, V*)."""
    wing, artifact = find_wing("walk"), Artifact(str(root), "walk", "label", "default")
    source = wing.problems(num_train=num_train, num_validation=10, num_test=num_test)
    identity = {"proposer": POLICY, "sizes": [num_train, num_test, per_problem], "seed": seed}
    artifact.begin(identity)
    rng, problems, labels = np.random.default_rng(seed), [], []
    for split, rollouts in (("train", 64), ("validation", 256), ("test", 256)):
        table = source.problems(split, seed)[0]
        problems.append(table.append_column("split", pa.array([split] * len(table))))
        partial = wing.mining(per_problem=per_problem).mine(table, seed)
        exact = np.clip(wing.exact(wing.states(partial)), 0.0, 1.0)
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
    artifact.finish(identity=identity, seed=seed, digest=content_digest(labels), rows={"labels": sum(map(len, labels))})
    return artifact
