"""A look at the machine before the work: each finding is in order, a warning, or wrong with what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from stepward.console.outcome import in_words
from stepward.core.artifacts import PACKAGES
from stepward.core.config import Config
from stepward.core.seeding import Rng
from stepward.core.stage import in_store
from stepward.core.storage import Folder
from stepward.core.wing import Wing, find_wing
from stepward.label import label_settings
from stepward.runtime.cluster import ClusterSettings, connect, package_path, resources
from stepward.runtime.tracking import Tracking, tracking_errors
from stepward.runtime.tracking_store import database_of, without_secrets

MIN_MEMORY, MIN_DISK = 4.0, 5.0  # GiB
PROPOSALS = 8
State = Literal["ok", "warning", "wrong"]
Looked = Iterator[tuple[State, str]]


class DoctorJob(Config):
    """What is looked at."""

    domain: str = Field("math", description="which domain: the name of an installed wing")
    store: str = Field("artifacts", description="root of all artifacts: a path, or a URL such as s3://bucket/stepward")
    tracking: Tracking = Field(Tracking(), description="where finished artifacts are logged")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    ray: bool = Field(False, description="connect to the cluster, or start one of this machine for a moment")
    proposer: Any = None


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    words: str

    def __str__(self) -> str:
        return f"{self.state:<8} {self.what:<10} {self.words}"


@dataclass(frozen=True)
class Findings:
    """All of them."""

    found: list[Finding]

    @property
    def exit_code(self) -> int:
        """1 where something is wrong."""
        return int(any(finding.state == "wrong" for finding in self.found))

    def __str__(self) -> str:
        wrong = sum(finding.state == "wrong" for finding in self.found)
        end = f"{wrong} of {len(self.found)} are wrong" if wrong else "Nothing is wrong"
        return "\n".join([*map(str, self.found), end])


def doctor_job(wing: Wing) -> type[DoctorJob]:
    """Settings of the doctor for a domain, whose proposers it can try."""
    proposer: Any = label_settings(wing).model_fields["proposer"].annotation
    fields: Any = {
        "domain": (str, Field(wing.name, description=DoctorJob.model_fields["domain"].description)),
        "proposer": (proposer | None, Field(None, description="a policy to try; none: none is tried")),
    }
    return create_model("DoctorJob", __base__=DoctorJob, __module__=__name__, **fields)


def run_doctor(settings: DoctorJob) -> Findings:
    """Look at everything; what raises is a finding, and the others are looked at all the same."""
    looks: list[tuple[str, Callable[[DoctorJob], Looked]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("processor", _processor),
        ("memory", _memory),
        ("GPU", _gpu),
        ("store", _store),
        ("MLflow", _mlflow),
        ("proposer", _proposer),
        ("Ray", _ray),
    ]
    found = []
    for what, look in looks:
        try:
            found += [Finding(what, state, words) for state, words in look(settings)]
        except (Exception, SystemExit) as error:
            found.append(Finding(what, "wrong", without_secrets(in_words(error))))
    return Findings(found)


def _python(settings: DoctorJob) -> Looked:
    words = f"{platform.python_version()} in {sys.prefix}; stepward from {package_path()}"
    yield ("ok" if sys.version_info >= (3, 11) else "wrong"), words


def _packages(settings: DoctorJob) -> Looked:
    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    if missing:
        yield "wrong", f"{', '.join(missing)} not installed: pip install -c constraints.txt -e ."
    yield "ok", ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if Path("platform/__init__.py").exists():
        yield "wrong", "platform/__init__.py hides Python's own module of that name, and Ray cannot start: remove it"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor(settings: DoctorJob) -> Looked:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds = {kind: _least(partial(torch.mm, *_factors(kind))) for kind in (torch.float32, torch.bfloat16)}
    gain = seconds[torch.float32] / seconds[torch.bfloat16]
    flops = 2 * 64 * 1024 * 4096 / seconds[torch.float32] / 1e9
    yield "ok", f"{usable} usable; {flops:,.0f} GFLOP/s in float32; bfloat16 is {gain:.1f} x as fast"
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None and usable > 1:
        yield "ok", "OMP_NUM_THREADS is not set; jobs set the threads of each worker themselves"


def _factors(kind: Any) -> tuple[Any, Any]:
    import torch

    return torch.ones(64, 1024, dtype=kind), torch.ones(1024, 4096, dtype=kind)


def _least(run: Callable[[], object]) -> float:
    times = []
    for _ in range(4):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _memory(settings: DoctorJob) -> Looked:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    few = memory < MIN_MEMORY
    yield ("warning" if few else "ok"), f"{memory:.1f} GiB" + (f"; a local cluster wants {MIN_MEMORY:g}" if few else "")
    shared = shutil.disk_usage("/dev/shm").free / 2**30 if Path("/dev/shm").exists() else None
    if shared is not None and shared < settings.cluster.object_store_mb / 1024:
        yield (
            "warning",
            f"/dev/shm has {shared:.2f} GiB free, Ray's store takes {settings.cluster.object_store_mb} MB: ",
        )
        "it will be slow. In a container, start it with --shm-size=2g, or set cluster.object_store_mb."


def _gpu(settings: DoctorJob) -> Looked:
    import torch

    if not torch.cuda.is_available():
        yield "ok", "none that torch can use; everything runs on processors"
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        card = torch.cuda.get_device_properties(number)
        yield "ok", f"{number}: {card.name}, {card.total_memory / 2**30:.0f} GiB"


def _store(settings: DoctorJob) -> Looked:
    folder, name = Folder(settings.store), f".doctor-{uuid.uuid4().hex[:8]}"
    folder.write_bytes(name, b"stepward")
    try:
        back = folder.read_bytes(name)
    finally:
        folder.delete(name)
    if back != b"stepward":
        yield "wrong", f"{folder.url}: what was written came back otherwise"
    yield "ok", f"{folder.url} can be written and read"
    if "://" not in settings.store:
        free = shutil.disk_usage(settings.store).free / 2**30
        words = f"{free:.1f} GiB free" + (f"; language models want more than {MIN_DISK:g}" if free < MIN_DISK else "")
        yield ("warning" if free < MIN_DISK else "ok"), words


def _mlflow(settings: DoctorJob) -> Looked:
    tracking = settings.tracking
    tracking.check()
    database = database_of(tracking.uri)
    if database is not None and not database.exists():
        yield "ok", f"{tracking.place} will be made by the first job"
        return
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(tracking.timeout))
    try:
        found = MlflowClient(tracking_uri=tracking.uri).search_experiments(max_results=50)
    except tracking_errors() as error:
        words = without_secrets(str(error)).splitlines()[0]
        yield "wrong", f"{tracking.place}: {words}. Jobs go on without it; jobs/track.py logs their artifacts later."
        return
    yield "ok", f"{tracking.place}: {', '.join(sorted(one.name for one in found))}"


def _proposer(settings: DoctorJob) -> Looked:
    if settings.proposer is None:
        yield "ok", "not tried; proposer.… tries one"
        return
    wing = find_wing(settings.domain)
    started = time.monotonic()
    policy = in_store(settings.proposer, settings.store, settings.domain).build()
    loaded, started = time.monotonic() - started, time.monotonic()
    source: Any = wing.problems()
    problems, _ = source.problems("validation", 0)
    roots = wing.states(problems.slice(0, 1))
    children = policy.propose(roots, num_candidates=PROPOSALS, rng=Rng.from_seed(0, 1, "doctor"))
    seconds, tokens = time.monotonic() - started, int(wing.domain.step_tokens(children).sum())
    yield "ok", f"loaded in {loaded:.1f} s, {policy.num_parameters:,} weights"
    yield "ok", f"{PROPOSALS} first steps in {seconds:.1f} s, {tokens} tokens"
    texts = wing.drawing.texts(children)[:2] if wing.drawing and wing.drawing.texts else []
    if texts:
        yield "ok", f"for example {' and '.join(map(repr, texts))}"


def _ray(settings: DoctorJob) -> Looked:
    if not settings.ray:
        yield "ok", "not tried; ray=true starts or asks a cluster"
        return
    started = time.monotonic()
    with connect(settings.cluster):
        have = resources()
        address = settings.cluster.resolved_address()
        yield "ok", f"{address}: {have['CPU']:g} CPUs and {have['GPU']:g} GPUs after {time.monotonic() - started:.0f} s"
