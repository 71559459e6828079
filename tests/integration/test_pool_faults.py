"""Pools whose workers die, do not fit, or are asked of a cluster that does not answer: said in time, never a hang."""

import os
import socket
import time
from typing import Any

import pytest

from stepward.runtime import cluster
from stepward.runtime.cluster import ClusterError, ClusterSettings, WorkersDiedError, connect
from stepward.runtime.pools import PoolSettings, actor_pool
from stepward.runtime.training import TrainPool
from stepward.runtime.tuning import TrialPool


def mortal() -> type:
    """A class of workers that die of the item "die"; made here, so that Ray ships it by value."""

    class Mortal:
        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            import os

            if batch["item"][0] == "die":
                os._exit(1)
            return {"item": list(batch["item"])}

    return Mortal


@pytest.mark.ray
def test_a_pool_whose_workers_used_up_their_restarts_ends_with_a_sentence(ray_cluster: str) -> None:
    pool = PoolSettings(num_actors=1, max_restarts=1, max_task_retries=0).resolve()
    started = time.monotonic()
    with pytest.raises(WorkersDiedError, match=r"died \d times, and 1 are allowed \(pool.max_restarts"):
        list(actor_pool(mortal(), {}, ["die"] * 6, pool))
    assert time.monotonic() - started < 60


@pytest.mark.ray
def test_deaths_within_the_limit_end_nothing(ray_cluster: str) -> None:
    pool = PoolSettings(num_actors=1, max_restarts=3, max_task_retries=0).resolve()
    assert list(actor_pool(mortal(), {}, ["die"], pool)) == []
    assert [answer["item"] for answer in actor_pool(mortal(), {}, ["a"], pool)] == ["a"]


def test_a_ray_that_was_imported_too_early_for_its_token_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with (
        pytest.raises(ClusterError, match=r"imported before.*call ray\.init\(\) first"),
        connect(ClusterSettings(address="local")),
    ):
        pass
    assert "RAY_AUTH_TOKEN" not in os.environ

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with connect(ClusterSettings(address="local")):
        assert "RAY_AUTH_TOKEN" not in os.environ  # that Ray has none, and its workers are not to ask for one


@pytest.mark.parametrize("listens", [False, True])
def test_an_address_where_no_cluster_answers_is_said(listens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there, or somebody who is no Ray cluster and says nothing."""
    import ray

    monkeypatch.setattr(cluster, "PATIENCE", 2.0)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=rf"cluster.address={address}: .*none answered"),
            connect(ClusterSettings(address=address)),
        ):
            raise AssertionError("connected")


@pytest.mark.parametrize(
    "pool",
    [
        PoolSettings(num_actors=3),
        PoolSettings(num_actors=1, cpus_per_actor=4),
        PoolSettings(num_actors=1, gpus_per_actor=1),
        TrainPool(num_workers=3),
        TrainPool(use_gpu=True),
        TrialPool(max_concurrent=1, cpus_per_trial=4),
    ],
)
def test_pools_larger_than_the_cluster_are_said(
    pool: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused where the cluster is of this machine; a warning where it may grow."""
    for module in ("cluster", "pools", "workers", "tuning"):
        monkeypatch.setattr(f"stepward.runtime.{module}.resources", lambda: {"CPU": 2.0, "GPU": 0.0})
    pool.resolve()
    assert "waits for it to grow" in caplog.text
    monkeypatch.setattr(cluster, "_local", True)
    with pytest.raises(ValueError, match=r"pool: expected room for .* but the cluster has 2 CPUs and 0 GPUs"):
        pool.resolve()
