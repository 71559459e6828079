"""Each actor of a pool gets a GPU of its own. Ray counts GPUs it is told of, so this needs none."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, time
import ray
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.evaluation import EvaluatePool
from stepward.runtime.pools import PoolSettings, actor_pool
from stepward.runtime.scorers import ScorerPool, scorers


def main():
    class Which:
        def __call__(self, batch):
            time.sleep(0.5)  # so that actors that start late find items too
            return {"pid": [os.getpid()], "gpus": [os.environ.get("CUDA_VISIBLE_DEVICES", "")]}

    with connect(ClusterSettings(address="local", num_cpus=4, num_gpus=2)):
        found = {}
        for name, settings in {"default": {}, "halves": {"gpus_per_actor": 0.5}}.items():
            pool = PoolSettings(**settings).resolve()
            answers = list(actor_pool(Which, {}, [str(i) for i in range(48)], pool))
            gpus = sorted({a["pid"]: a["gpus"] for a in answers}.values())
            found[name] = [pool.num_actors, gpus, len(answers)]
        # Two searchers and two scorers, half a GPU each: as many as there is room for.
        pool = EvaluatePool(gpus_per_actor=0.5, scorers=ScorerPool(num_actors=2, gpus_per_actor=0.5)).resolve()
        with scorers(pool.scorers, "walk") as actors:
            ask = lambda self: os.environ["CUDA_VISIBLE_DEVICES"]
            found["scorers"] = [pool.num_actors, ray.get([actor.__ray_call__.remote(ask) for actor in actors])]
    print(json.dumps(found))


main()
"""


@pytest.mark.slow  # many processes of Ray, a quarter of a minute on quiet cores
@pytest.mark.ray
def test_one_actor_a_gpu_by_default_and_fractions_share(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_TMPDIR": "/tmp"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["default"] == [2, ["0", "1"], 48]
    num_actors, gpus, num_answers = found["halves"]
    assert (num_actors, num_answers, set(gpus)) == (4, 48, {"0", "1"})
    searchers, held = found["scorers"]
    assert searchers == 2  # of four CPUs and two GPUs, two and one are left
    assert set(held) <= {"0", "1"}
    assert 3 <= len(gpus) <= 4 and max(gpus.count("0"), gpus.count("1")) <= 2  # a late actor may find no item left
