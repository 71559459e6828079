"""Ends an actor pool of Ray Data whose workers died more often than they may.

Ray Data has no other door to a running pool, so this reads fields of Ray that are its own. Import this module only
where Ray is connected: Ray reads its token when it is imported.
"""

from __future__ import annotations

import time
from typing import Any

from ray._private.state import actors
from ray.data._internal.execution.execution_callback import ExecutionCallback

from stepward.runtime.cluster import WorkersDiedError

ALLOWED = "stepward_allowed_deaths"  # entry of the DataContext: deaths of all workers together
LOOK = 1.0  # seconds between looks


class CountingDeaths(ExecutionCallback):
    """Looks at the actors of all pools of an execution, now and then."""

    looked = 0.0

    def on_execution_step(self, executor: Any) -> None:
        """Called in every round of the scheduler; what it raises ends the execution.

        Raises:
            WorkersDiedError: more often than the context's `ALLOWED`.
        """
        if time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        pools = [operator._actor_pool for operator in executor._topology if hasattr(operator, "_actor_pool")]
        handles = [actor for pool in pools for actor in (*pool._running_actors, *pool._pending_actors.values())]
        states = [actors(actor._actor_id.hex()) for actor in handles]
        deaths = sum(state.get("NumRestarts", 0) + (state.get("State") == "DEAD") for state in states)
        allowed = executor._data_context.get_config(ALLOWED)
        if deaths > allowed:
            raise WorkersDiedError(
                f"the workers of the pool died {deaths} times, and {allowed} are allowed (pool.max_restarts for each). "
                "They were killed, had not enough memory, or crashed: their logs are in Ray's session folder. "
                "Mend the cause, or raise pool.max_restarts"
            )
