"""A real S3 server on this machine (moto's), which can be told to be slow, to fail and to lose answers."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
INTERNAL = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


@dataclass
class S3Server:
    """What tests tell the server, and what it counted.

    Attributes:
        url: for AWS_ENDPOINT_URL.
        slow_down: every n-th request is answered 503 and not done; 0: none.
        fail: every n-th write is answered 500 and not done.
        lose: every n-th write is done and answered 500.
        down: every request is answered 500.
        counts: requests by method, and faults by kind.
    """

    url: str = ""
    slow_down: int = 0
    fail: int = 0
    lose: int = 0
    down: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _requests: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _writes: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def fault(self, method: str) -> str | None:
        """What goes wrong with a request. Throttling and failing are out of step, so that retries come through."""
        self.counts[method] += 1
        request, write = next(self._requests), next(self._writes) if method in ("PUT", "POST") else 0
        if self.down:
            return "down"
        if self.slow_down and request % self.slow_down == 0:
            return "slow_down"
        if write and self.fail and write % self.fail == 0:
            return "fail"
        return "lose" if write and self.lose and write % self.lose == 0 else None


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch, bucket: str = "store") -> Iterator[S3Server]:
    """The server with an empty bucket, and an environment in which every S3 client finds it."""
    pytest.importorskip("moto", reason="moto, the S3 server of these tests, is not installed")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    control, inner = S3Server(), DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        fault = control.fault(environ["REQUEST_METHOD"])
        if fault is None:
            return inner(environ, start)
        control.counts[fault] += 1
        if fault == "lose":
            list(inner(environ, lambda *_: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body, status = (SLOW_DOWN, "503 Slow Down") if fault == "slow_down" else (INTERNAL, "500 Internal Server Error")
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    control.url = f"http://127.0.0.1:{server.port}"
    for name, value in {
        "AWS_ENDPOINT_URL": control.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield control
    finally:
        server.shutdown()
        thread.join()
