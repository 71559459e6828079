"""Requests to an OpenAI-compatible server: many in flight, tried again where that may help, within a deadline.

A failure belongs to a request (`AnswerError`) or to the server (`UnavailableError`), and then no request is to blame. A
server that is being started again is waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import aiohttp
from pydantic import Field, field_validator

from stepward.core.config import Config, Plain
from stepward.core.interfaces import UnavailableError

__all__ = ["AnswerError", "Client", "ServerConfig"]

T = TypeVar("T")
Body: TypeAlias = Mapping[str, Any]
_LOG = logging.getLogger(__name__)

BUSY = (429, 502, 503, 504)  # it is loading its model, or others are first
OURS = (401, 403, 404, 405, 422)  # the same for every request
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0  # seconds before an attempt, doubled each time
PROBE = 10.0  # seconds in which a server that lives says which models it has
REMEMBERED = 2**17  # answers


class AnswerError(ValueError):
    """A request that a server, which answers others, did not answer as it should."""


class ServerConfig(Config):
    """A model behind an OpenAI-compatible server, and how it is asked."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset(
        {"url", "api_key_env", "in_flight", "timeout", "deadline", "retries"}
    )

    url: str = Field("http://127.0.0.1:8000/v1", description="base URL of the server, up to and with its /v1")
    model: str = Field("", description="name of the model, as the server knows it")
    api_key_env: str | None = Field(
        None, description="environment variable, of the workers, that holds the API key; none: no key"
    )
    in_flight: int = Field(32, ge=1, description="requests that a worker has in flight")
    timeout: float = Field(120, gt=0, description="seconds after which an attempt is given up")
    deadline: float = Field(300, gt=0, description="seconds for which a server that takes no requests is waited for")
    retries: int = Field(4, ge=0, description="new attempts after an answer that is none (500, cut short, a timeout)")
    extra: dict[str, Any] = Field({}, description="further fields of every request, as this server knows them")

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^/@\s]+(/\S*)?", url):
            raise ValueError(
                f"expected http:// or https://, a host and a path, without a password, got {url!r}; a key goes into an "
                "environment variable that api_key_env names"
            )
        return url.rstrip("/")

    def __hash__(self) -> int:  # that of pydantic cannot be had with a mapping
        return hash(self.model_dump_json())

    @property
    def key(self) -> str | None:
        """The API key.

        Raises:
            UnavailableError: its variable is not set.
        """
        if self.api_key_env is None:
            return None
        if not (key := os.environ.get(self.api_key_env)):
            raise UnavailableError(
                f"api_key_env: expected an API key in the environment variable {self.api_key_env}, which is not set "
                "where the workers run."
            )
        return key


class Client:
    """Asks a server.

    Answers are remembered, so that a batch that is done again without its bad row asks nothing twice; so are failures.
    """

    def __init__(self, settings: ServerConfig) -> None:
        self.settings = settings
        self._remembered: OrderedDict[bytes, Any] = OrderedDict()

    def ask(
        self, path: str, bodies: Sequence[Body], read: Callable[[Plain], T], streams: Sequence[int] | None = None
    ) -> list[T | AnswerError]:
        """What `read` makes of the answer to each request; requests that failed alone are an `AnswerError`.

        Args:
            path: below the base URL, such as ``completions``.
            bodies: fields of each request, without model and further ones of the settings.
            read: of the decoded JSON; raises ValueError for an answer that is none, which is asked for again.
            streams: equal requests of unequal numbers are different ones (samples); None: equal ones are one.

        Raises:
            UnavailableError: the server does not take requests, or none of ours.
        """
        bodies = [{"model": self.settings.model, **body, **self.settings.extra} for body in bodies]
        names = [_name(path, body, s) for body, s in zip(bodies, streams or [0] * len(bodies), strict=True)]
        new = {name: body for name, body in zip(names, bodies, strict=True) if name not in self._remembered}
        if new:
            work = _Round(self.settings, path, read).run(list(new.values()))
            with ThreadPoolExecutor(1) as thread:  # of its own: a notebook has a running loop
                self._remembered.update(zip(new, thread.submit(asyncio.run, work).result(), strict=True))
        answers = [self._remembered[name] for name in names]
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return answers


class _BusyError(Exception):
    """The server takes no requests now."""


class _FailedError(Exception):
    """An answer that is none."""


class _Round(Generic[T]):
    """Some requests in one session."""

    def __init__(self, settings: ServerConfig, path: str, read: Callable[[Plain], T]) -> None:
        self.settings, self.read, self.key = settings, read, settings.key
        self.address = f"{settings.url}/{path}"

    async def run(self, bodies: Sequence[Body]) -> list[T | AnswerError]:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        limits = aiohttp.TCPConnector(limit=0)
        self.gate = asyncio.Semaphore(self.settings.in_flight)
        async with aiohttp.ClientSession(connector=limits, headers=headers) as self.session:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self.one(body)) for body in bodies]
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def one(self, body: Body) -> T | AnswerError:
        """Attempts until there is an answer, the retries are used up, or the deadline has passed."""
        async with self.gate:
            clock, failures = asyncio.get_running_loop().time, 0
            until = clock() + self.settings.deadline
            for attempt in itertools.count():
                try:
                    return await self.attempt(body)
                except AnswerError as error:
                    return error
                except (TimeoutError, _FailedError, aiohttp.ClientPayloadError) as error:
                    failures += 1
                    if failures > self.settings.retries or clock() > until:
                        return await self.given_up(failures, error)
                except (_BusyError, aiohttp.ClientError) as error:
                    if clock() > until:
                        waited = f"for {self.settings.deadline:g} s it took no request ({self.words(error)})"
                        raise self.unavailable(f"{waited}; start it, or give the right url") from None
                    if not attempt:
                        _LOG.warning("%s takes no request (%s): waiting for it", self.address, self.words(error))
                await asyncio.sleep(min(FIRST_WAIT * 2**attempt, LONGEST_WAIT))
            raise AssertionError("attempts have no end of their own")

    async def attempt(self, body: Body) -> T:
        limit = aiohttp.ClientTimeout(total=self.settings.timeout)
        async with self.session.post(self.address, json=body, timeout=limit) as answer:
            content = await answer.read()
        if answer.status == 200:
            try:
                return self.read(json.loads(content))
            except ValueError as error:
                raise _FailedError(f"{error}") from None
        said = f"HTTP {answer.status}: {content[:300].decode(errors='replace')}"
        if answer.status in BUSY:
            raise _BusyError(said)
        if answer.status in OURS:
            raise self.unavailable(f"it refuses the request, with {self.words(said)}; mend url, model, key or fields")
        if answer.status >= 500:
            raise _FailedError(said)
        raise AnswerError(f"{self.address}: refused with {self.words(said)}")

    async def given_up(self, failures: int, error: Exception) -> AnswerError:
        """The error of a request, unless the server has stopped to answer anything.

        Raises:
            UnavailableError: it has.
        """
        if isinstance(error, TimeoutError):
            try:
                probe = aiohttp.ClientTimeout(total=PROBE)
                async with self.session.get(f"{self.settings.url}/models", timeout=probe):
                    pass
            except (TimeoutError, aiohttp.ClientError):
                raise self.unavailable("it answers nothing any more; look into its log and start it again") from None
        return AnswerError(f"{self.address}: expected an answer, got none {failures} times; last: {self.words(error)}")

    def unavailable(self, what: str) -> UnavailableError:
        return UnavailableError(f"{self.address}: {what}.")

    def words(self, error: Exception | str) -> str:
        """What was wrong, without the key."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self.settings.timeout:g} s"
        text = str(error) or type(error).__name__
        return text.replace(self.key, "***") if self.key else text


def _name(path: str, body: Body, stream: int) -> bytes:
    written = json.dumps([path, body, stream], sort_keys=True)
    return hashlib.blake2b(written.encode(errors="surrogatepass"), digest_size=16).digest()
