"""What Ray Data costs the label stage, and what a second actor brings.

    python benchmarks/label_pool.py

The same batches of number walks (4,000 rows, M = 64: more than 50 ms of one core) are labelled, written and noted by

- a bare loop: one Ray actor that goes through a list of batches by itself,
- the pool of the label stage with one actor, and with two.

Rates are batches a second while all actors are at work, without starting and stopping: medians over interleaved
repeats. The ratio of two actors to one means something on two free cores only, so the machine's load is printed too.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.label import LabelWork, plan
from stepward.runtime.cluster import connect
from stepward.runtime.labelling import LabelJob, LabelWorker, label_job, shipped
from stepward.runtime.pools import actor_pool

REPEATS = 3


class TimedWorker(LabelWorker):
    """The worker of the label stage, which also says who it is and when a batch began and ended."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        began = time.monotonic()
        answer = super().__call__(batch)
        assert answer["error"] == [""], answer["error"]
        return answer | {"pid": [os.getpid()], "began": [began], "ended": [time.monotonic()]}


def rate(answers: list[dict[str, Any]]) -> float:
    """Batches a second while every actor is past its first batch and before its last."""
    ends: dict[int, list[float]] = {}
    for answer in answers:
        ends.setdefault(answer["pid"], []).append(answer["ended"])
    first, last = max(min(times) for times in ends.values()), min(max(times) for times in ends.values())
    return sum(sum(first < time <= last for time in times) / (last - first) for times in ends.values())


def bare_loop(job: LabelJob, batches: list[str]) -> list[dict[str, Any]]:
    import ray

    class Loop:
        def run(self, values: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
            worker = TimedWorker(values)
            return [{key: column[0] for key, column in worker({"item": [name]}).items()} for name in names]

    forget(job)
    actor = ray.remote(num_cpus=1)(Loop).remote()
    return ray.get(actor.run.remote(shipped(job), batches))


def pooled(job: LabelJob, batches: list[str], num_actors: int) -> list[dict[str, Any]]:
    forget(job)
    pool = job.pool.model_copy(update={"num_actors": num_actors}).resolve()
    return list(actor_pool(TimedWorker, {"settings": shipped(job)}, batches, pool))


def forget(job: LabelJob) -> None:
    """Take away the labels of the last run: workers pass over batches that are done."""
    job.artifact("label").folder.delete("labels")


def main() -> None:
    with tempfile.TemporaryDirectory() as store:
        arguments = [f"store={store}", "problems.num_train=7000", "problems.num_validation=1", "problems.num_test=1"]
        arguments.append("pool.batch_size=4000")
        job = parse_config(label_job(find_wing("walk")), arguments)
        work = LabelWork(job.artifact("label"), job.identity())
        plan(job, work, job.pool.batch_size)
        batches = [name for name in work.batches() if name.startswith("train")]
        rates: dict[str, list[float]] = {"bare": [], "one": [], "two": []}
        costs: list[float] = []
        with connect(job.cluster.model_copy(update={"num_cpus": 2})):
            for _ in range(REPEATS):
                bare = bare_loop(job, batches)
                costs += [answer["ended"] - answer["began"] for answer in bare[1:]]
                rates["bare"].append(rate(bare))
                rates["one"].append(rate(pooled(job, batches, 1)))
                rates["two"].append(rate(pooled(job, batches, 2)))
    cost, load = 1000 * statistics.median(costs), os.getloadavg()[0]
    print(f"{len(batches)} batches of {cost:.0f} ms; load of the machine {load:.1f}")
    for name, values in rates.items():
        shown = " ".join(f"{value:.2f}" for value in values)
        print(f"{name:<5}{statistics.median(values):>8.2f} batches/s   ({shown})")
    overhead = statistics.median(rates["one"]) / statistics.median(rates["bare"])
    scaling = statistics.median(rates["two"]) / statistics.median(rates["one"])
    print(f"pool with one actor / bare loop: {overhead:.2f} (claim: at least 0.90)")
    print(f"two actors / one actor:          {scaling:.2f} (claim: at least 1.60 on two free cores)")
    if overhead < 0.9 or scaling < 1.6:
        sys.exit("a claim does not hold here")


if __name__ == "__main__":
    main()
