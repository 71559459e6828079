"""Actor pools of Ray Data: many items of work, a fixed number of actors, one GPU each where there are GPUs."""

from __future__ import annotations

import faulthandler
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pydantic import Field

from stepward.core.config import Config, Plain
from stepward.runtime.cluster import require_room, resources

P = TypeVar("P", bound="PoolSettings")
IN_FLIGHT = 4  # tasks that wait for each actor, so that it never waits for the driver
TASKS_PER_ACTOR = 16  # at least, as far as there are items: the fewer, the longer an actor waits for others at the end
MAX_ITEMS = 8  # of a task


class PoolSettings(Config):
    """Size of an actor pool, and how often it tries again."""

    num_actors: int | None = Field(
        None, ge=1, description="workers; none: one per GPU, without GPUs as many as CPUs allow"
    )
    cpus_per_actor: float = Field(1.0, gt=0, description="CPUs of a worker")
    gpus_per_actor: float | None = Field(
        None, ge=0, description="GPUs of a worker, maybe a fraction; none: 1 or, without GPUs, 0"
    )
    max_restarts: int = Field(16, ge=0, description="new starts a worker, of those that died, in one round")
    max_task_retries: int = Field(1, ge=0, description="new tries of an item whose worker died, in one round")

    time_limit: float | None = Field(
        3600, gt=0, description="seconds of an item, after which its worker is taken to hang and ended; none: no limit"
    )

    @property
    def reserved(self) -> dict[str, float]:
        """CPUs and GPUs of the cluster that others will take."""
        return {}

    def resolve(self: P) -> P:
        """These settings with the numbers that depend on the cluster filled in.

        Raises:
            ValueError: the cluster does not have room for one actor, or, if it is of this machine, for all of them.
        """
        have = {kind: number - self.reserved.get(kind, 0) for kind, number in resources().items()}
        gpus = self.gpus_per_actor
        if gpus is None:
            gpus = 1.0 if have["GPU"] >= 1 else 0.0
        room = int(have["GPU"] / gpus) if gpus else int(have["CPU"] / self.cpus_per_actor)
        if self.num_actors is not None:
            require_room("pool", self.num_actors, self.cpus_per_actor, gpus, self.reserved)
        elif room < 1:
            raise ValueError(
                f"pool: expected room for a worker of {self.cpus_per_actor:g} CPUs and {gpus:g} GPUs, but the cluster "
                f"has {have['CPU']:g} CPUs and {have['GPU']:g} GPUs left. Ask for less, or set pool.num_actors for a "
                "cluster that grows."
            )
        return self.model_copy(update={"num_actors": self.num_actors or room, "gpus_per_actor": gpus})


def actor_pool(
    worker: type, arguments: Mapping[str, object], items: Sequence[str], pool: PoolSettings
) -> Iterator[Plain]:
    """Send items through a pool of actors; yields what the workers answer as soon as they do.

    Each actor takes one item after another. Items travel in tasks of a few neighbours (`items_per_task`), because a
    task costs Ray some milliseconds; answers come when a task is over. A task whose worker died more than
    `max_task_retries` times gets no answer, and the pool goes on: see afterwards which items are missing. Work is done
    at least once, so a worker's effects must be the same when repeated, and it should pass over what is done already.

    Ray restarts workers without end and without a word, and it is here that restarts are counted: a pool whose actors
    have each a number of restarts of their own would wait for ever once all of them used it up. Ray warns once a
    process that such actors take arguments from its object store; the pool holds those as long as it lives.

    Args:
        worker: class made once an actor with `arguments`; called with ``{"item": [item]}`` it returns a dict of
            columns of one row.
        pool: resolved settings.

    Raises:
        WorkersDiedError: more often than `max_restarts` times each, all together.
    """
    import ray.data

    from stepward.runtime.pool_deaths import ALLOWED, CountingDeaths

    assert pool.num_actors is not None, "resolved"
    num_tasks = math.ceil(len(items) / items_per_task(len(items), pool.num_actors))
    context = ray.data.DataContext.get_current().copy()
    context.max_errored_blocks = -1
    context.execution_no_progress_timeout_s = -1  # how long an item may take is the pool's to say, not Ray's
    context.custom_execution_callback_classes = [CountingDeaths]
    context.set_config(ALLOWED, pool.max_restarts * pool.num_actors)
    remote = {"max_restarts": -1, "max_task_retries": pool.max_task_retries}
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*")  # these two have no other way in
        answers = ray.data.from_items(list(items), override_num_blocks=num_tasks).map_batches(
            worker,
            fn_constructor_kwargs=dict(arguments),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=pool.num_actors, max_tasks_in_flight_per_actor=IN_FLIGHT),
            num_cpus=pool.cpus_per_actor,
            num_gpus=pool.gpus_per_actor or None,
            **remote,
        )
        for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch.to_pylist()


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """A block of a worker; if it takes longer, the process ends, even one that hangs outside of Python."""
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True)  # where it hangs stands in the worker's log
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def items_per_task(num_items: int, num_actors: int) -> int:
    """Items that travel together: few enough for every actor to get many tasks, and 1 where items are few."""
    return min(max(num_items // (TASKS_PER_ACTOR * num_actors), 1), MAX_ITEMS)
