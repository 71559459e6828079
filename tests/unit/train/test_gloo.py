"""Two and four processes that train together, as Ray Train starts them, end with the weights of one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stepward.core.storage import Folder
from walk_artifacts import make_labels

WORK = """
import sys
from stepward.core.config import parse_config
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.train import Workers, state_arrays, train_settings, training
words = ["store=" + sys.argv[1], "optimisation.num_epochs=4", "optimisation.batch_size=64", "learner.hidden_width=16"]
settings = parse_config(train_settings(find_wing("walk")), words)
rows = [settings.learning.read(settings, split) for split in ("train", "validation")]
workers = Workers.here()
task = settings.learning.task(settings, *rows, workers.device)
*_, last = training(task, workers=workers)
assert workers.world == int(sys.argv[2])
if not workers.rank:
    Folder(sys.argv[1]).write_weights(f"of-{workers.world}", state_arrays(last.best))
"""


def train_together(store: Path, world: int) -> dict[str, np.ndarray]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(store), str(world)],
            env=os.environ | common | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}),
        )
        for rank in range(world)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0] * world
    return Folder(store).read_weights(f"of-{world}")


@pytest.mark.slow  # seven processes, each of which imports torch
def test_two_and_four_workers_give_the_weights_of_one(tmp_path: Path) -> None:
    make_labels(tmp_path)
    one = train_together(tmp_path, 1)
    for world in (2, 4):
        together = train_together(tmp_path, world)
        assert together.keys() == one.keys()
        for name, weights in one.items():  # sums of shares are rounded in another order
            np.testing.assert_allclose(together[name], weights, rtol=2e-4, atol=2e-5, err_msg=f"{world}: {name}")
