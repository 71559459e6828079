"""The label stage on the cluster of the test session: pools of any size make the same labels."""

from pathlib import Path

import pytest

from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.runtime.labelling import label_job, run_label

pytestmark = pytest.mark.ray

SMALL = ["problems.num_train=6", "problems.num_validation=2", "problems.num_test=2", "mining.per_problem=10",
         "labels.num_rollouts_validation=32", "labels.num_rollouts_test=32", "tracking.enabled=false"]  # fmt: skip


def test_pools_of_any_size_make_the_same_labels(ray_cluster: str, tmp_path: Path) -> None:
    made = {}
    for num_actors, batch_size in ((1, 20), (2, 7)):
        pool = [f"pool.num_actors={num_actors}", f"pool.batch_size={batch_size}"]
        name = [f"store={tmp_path}", f"name=a{num_actors}b{batch_size}"]
        made[num_actors, batch_size] = run_label(parse_config(label_job(find_wing("walk")), [*SMALL, *pool, *name]))
    one, two = (made[key].manifest for key in ((1, 20), (2, 7)))
    assert one.fingerprint == two.fingerprint, "other batches make other files of the same rows"
    assert one.rows == {"labels": 100, "train": 60, "validation": 20, "test": 20, "dead_letters": 0}
    assert one.facts == {"batches": 5, "batches_begun": 5, "overran": 0}, "nothing is done twice"
    assert "100 rows" in str(made[1, 20])
