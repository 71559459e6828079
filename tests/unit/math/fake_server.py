"""An OpenAI-compatible server in a thread of this process: it writes canned solutions, and fails where told to."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

SOLUTION = "1+1=2\n2+{n}={m}\nA: {m}\nnever read\n"


class FakeServer:
    """Solves every question in three lines and goes on. Words of a prompt ask for trouble:

    ``broken`` 500 for ever, ``flaky`` 500 twice, ``hangs``, ``no choice``, ``cut`` half an answer, ``long`` no room for
    64 tokens or more, ``busy`` 503 twice, ``odd`` no answer but the end of the text after a line.

    Args:
        style: of the line break at which it stops: "kept", "told" (dropped, with a stop_reason) or "dropped".
        chat: what it says in a chat, from the messages.
    """

    def __init__(self, style: str = "kept", chat: Any = None) -> None:
        self.style, self.chat = style, chat
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.seen: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.url = ""

    async def completions(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        self.keys.add(request.headers.get("Authorization"))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0.005)
            return await self.trouble(str(body)) or self.answer(body)
        finally:
            self.in_flight -= 1

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": []})

    async def trouble(self, text: str) -> web.Response | None:
        self.seen[text] += 1
        if "hangs" in text:
            await asyncio.sleep(5)
        if "broken" in text or ("flaky" in text and self.seen[text] < 3):
            return web.json_response({"error": "out of memory"}, status=500)
        if "busy" in text and self.seen[text] < 3:
            return web.json_response({"error": "loading"}, status=503)
        if "no choice" in text:
            return web.json_response({"choices": [], "usage": {"completion_tokens": 0}})
        if "cut" in text:
            return web.Response(body=b'{"choices": [{"te', content_type="application/json")
        return None

    def answer(self, body: dict[str, Any]) -> web.Response:
        if "messages" in body:
            choice = {"message": {"content": self.chat(body["messages"])}, "finish_reason": "stop"}
            return web.json_response({"choices": [choice], "usage": {"completion_tokens": 7}})
        prompt, stops = body["prompt"], body.get("stop", [])
        if "long" in prompt and body["max_tokens"] >= 64:
            return web.json_response({"error": {"message": "the maximum context length is 128"}}, status=400)
        question, _, written = prompt.partition("?\n")
        n = body.get("seed", 7) % 5
        whole = "a line\n" if "odd" in question else SOLUTION.format(n=n, m=2 + n)
        rest = whole if written.count("\n") == 0 else "".join(whole.splitlines(keepends=True)[written.count("\n") :])
        text, finish, reason = rest, "stop", None
        if stops and "\n" in rest:
            text, reason = rest[: rest.index("\n") + (self.style == "kept")], "\n"
        pieces = list(text)
        if len(pieces) > body["max_tokens"]:
            pieces, finish, reason = pieces[: body["max_tokens"]], "length", None
        choice = {"text": "".join(pieces), "finish_reason": finish}
        choice |= {"stop_reason": reason} if self.style == "told" else {}
        if "logprobs" in body:
            choice["logprobs"] = {"tokens": pieces, "token_logprobs": [-0.5] * len(pieces)}
        return web.json_response({"choices": [choice], "usage": {"completion_tokens": len(pieces)}})

    @contextmanager
    def running(self, port: int = 0) -> Iterator["FakeServer"]:
        """In a thread, at `url`, until the block ends."""
        loop, started = asyncio.new_event_loop(), threading.Event()
        app = web.Application()
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/v1/chat/completions", self.completions)
        app.router.add_get("/v1/models", self.models)
        runner = web.AppRunner(app, shutdown_timeout=0.1)

        async def start() -> None:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            started.set()

        def serve() -> None:
            loop.run_until_complete(start())
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert started.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()
