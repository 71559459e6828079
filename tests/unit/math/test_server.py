"""A server as proposer: what it says becomes steps, and what it does not say harms nobody but its own row."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepward.core.config import parse_config
from stepward.core.interfaces import UnavailableError
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.math import Ending, MathDomain, MathStates, ServerSettings
from stepward.domains.math.states import roots
from stepward.label import LabelWork, MineTask, MiningWork, finish, plan_mined, plan_mining
from stepward.runtime.labelling import LabelWorker, label_job, shipped
from stepward.testing import check_proposer
from unit.math.fake_server import FakeServer

WING = find_wing("math")
FAST: dict[str, Any] = {"model": "m", "retries": 2, "timeout": 0.5, "deadline": 0.6}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepward.domains.math.server.client.FIRST_WAIT", 0.01)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as fake:
        yield fake


def questions(*texts: str) -> MathStates:
    return roots(np.array(texts, object), np.array(["9"] * len(texts), object))


def proposer(server: FakeServer, **settings: Any) -> Any:
    return ServerSettings(url=server.url, **FAST | settings).build()


@pytest.mark.parametrize(("style", "settings"), [("kept", {}), ("told", {}), ("dropped", {"line_break": "dropped"})])
def test_steps_are_lines_however_a_server_treats_its_stop_string(style: str, settings: dict[str, Any]) -> None:
    with FakeServer(style).running() as fake:
        asked = proposer(fake, temperatures=(0.0,), log_probs=True, **settings)
        states = questions("a?", "b?")
        check_proposer(asked, MathDomain(), questions("a?", "b?", "c?"), num_candidates=2)
        rng = Rng.from_seed(0, 2, "test")
        texts = []
        for _ in range(3):
            states = asked.propose(states, num_candidates=1, rng=rng)
            texts.append(states.text[0])
        assert texts == ["1+1=2\n", "1+1=2\n2+2=4\n", "1+1=2\n2+2=4\nA: 4\n"]
        assert states.ending.tolist() == [Ending.ANSWERED] * 2 and states.num_steps.tolist() == [3, 3]
        assert (states.num_tokens >= 14).all() and (states.log_prob == -0.5 * states.num_tokens).all()
        whole = asked.complete(questions("a?", "b?"), num_continuations=2, rng=rng)
        assert set(whole.text) == set(states.text), "the same text at once, cut after its answer"
        assert (whole.num_tokens > states.num_tokens[0]).all(), "what was sampled beyond the answer was paid for"
        odd = asked.propose(questions("odd?"), num_candidates=1, rng=rng.take([0]))
        odd = asked.propose(odd, num_candidates=1, rng=rng.take([0]))
        assert odd.text.tolist() == ["a line\n"] and odd.ending.tolist() == [Ending.NO_ANSWER]


def test_many_are_in_flight_each_with_a_seed_of_its_own_row(server: FakeServer) -> None:
    asked = proposer(server, in_flight=32, timeout=20)
    states, rng = questions(*(f"q{i}?" for i in range(40))), Rng.from_seed(0, 40, "test")
    both = asked.complete(states, num_continuations=4, rng=rng)
    assert 24 <= server.most_in_flight <= 32
    assert len({request["seed"] for request in server.requests}) == 160
    alone = proposer(server).complete(states.take([7]), num_continuations=4, rng=Rng.from_seed(0, 40, "test").take([7]))
    assert alone.text.tolist() == both.text[28:32].tolist()
    assert np.isnan(alone.log_prob).all(), "not asked for, so not known"


def test_a_context_without_room_is_asked_for_less_and_then_ends_the_solution(server: FakeServer) -> None:
    states = proposer(server, max_steps=16).complete(
        questions("long?"), num_continuations=1, rng=Rng.from_seed(0, 1, "test")
    )
    assert states.ending.tolist() == [Ending.ANSWERED] and server.requests[-1]["max_tokens"] == 32
    short = proposer(server, max_steps=3, max_step_tokens=4).complete(
        questions("a?"), num_continuations=1, rng=Rng.from_seed(0, 1, "test")
    )
    assert short.ending.tolist() == [Ending.LINE_TOO_LONG] and short.num_tokens.tolist() == [12]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("broken", "got none 3 times; last: HTTP 500"),
        ("hangs", "no answer within 0.5 s"),
        ("no choice", "expected 1 choice, got 0"),
        ("cut", "Unterminated string|Expecting"),
    ],
)
def test_a_request_that_fails_for_good_says_so(server: FakeServer, word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        proposer(server).propose(questions(f"{word}?"), num_candidates=1, rng=Rng.from_seed(0, 1, "test"))
    assert len(server.requests) <= 3
    for recovers in ("flaky?", "busy?"):
        states = proposer(server).propose(questions(recovers), num_candidates=1, rng=Rng.from_seed(0, 1, "test"))
        assert states.text.tolist() == ["1+1=2\n"]


def test_a_server_that_is_away_is_nobodys_fault(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = ServerSettings(url=f"http://127.0.0.1:{port}/v1", **FAST).build()
    rng = Rng.from_seed(0, 1, "test")
    with pytest.raises(UnavailableError, match=r"for 0.6 s it took no request"):
        away.propose(questions("a?"), num_candidates=1, rng=rng)
    late = FakeServer()

    def start() -> None:
        time.sleep(0.3)
        with late.running(port):
            time.sleep(3)

    thread = threading.Thread(target=start)
    thread.start()
    waits = ServerSettings(url=f"http://127.0.0.1:{port}/v1", **FAST | {"deadline": 5}).build()
    assert waits.propose(questions("a?"), num_candidates=1, rng=rng).text.tolist() == ["1+1=2\n"]
    thread.join()
    with pytest.raises(UnavailableError, match="MY_KEY, which is not set"):
        proposer(server, api_key_env="MY_KEY").propose(questions("a?"), num_candidates=1, rng=rng)
    monkeypatch.setenv("MY_KEY", "sk-secret")
    proposer(server, api_key_env="MY_KEY").propose(questions("a?"), num_candidates=1, rng=rng)
    assert server.keys == {"Bearer sk-secret"}


def test_settings_that_make_no_sense() -> None:
    for settings, message in (
        ({"url": "http://me:pw@host/v1"}, "without a password"),
        ({"chat": True}, "both or neither"),
    ):
        with pytest.raises(ValueError, match=message):
            ServerSettings(**settings)
    with pytest.raises(ValueError, match="expected the name of a model"):
        ServerSettings().build()


def test_labels_lose_the_bad_rows_alone_and_do_not_depend_on_where_the_server_is(tmp_path: Path) -> None:
    rows = ["a?", "broken?", "b?", "hangs?", "c?", "d?"]
    (tmp_path / "q.csv").write_text("id,question,answer,split\n" + "".join(f"{q[:-1]},{q},4,train\n" for q in rows))
    with FakeServer().running() as fake:
        values = [f"{part}.{name}={value}" for part in ("proposer", "mining.model")
                  for name, value in ({"kind": "server", "url": fake.url} | FAST).items()]  # fmt: skip
        values += [f"store={tmp_path}", "problems.source=file", f"problems.path={tmp_path / 'q.csv'}"]
        settings = parse_config(label_job(WING), ["domain=math", *values])
        work = LabelWork(settings.artifact("label"), settings.identity())
        mining = MiningWork(work.artifact, settings.identity())
        work.artifact.begin(settings.identity())
        plan_mining(settings, mining, 50)
        for batch in mining.left():
            mining.commit(batch, *MineTask(settings)(mining.rows(batch)))
        plan_mined(settings, work, mining, 100)
        elsewhere = settings.proposer.model_copy(update={"url": "http://127.0.0.1:9/v1"})
        moved = settings.model_copy(update={"proposer": elsewhere})
        assert moved.identity() == settings.identity()
        stopped = LabelWorker(shipped(moved))({"item": ["train-000000"]})["error"][0]
        assert "UnavailableError" in stopped and work.left() == ["train-000000"], "no row is to blame"
        worker = LabelWorker(shipped(settings))
        for batch in work.left():
            assert worker({"item": [batch]})["error"] == [""]
        finish(settings, work, 0.0)
        table = work.artifact.folder.read_table("labels")
        dead = work.artifact.folder.read_table("dead_letters.parquet").to_pylist()
        assert {row["id"] for row in dead} == {"broken", "hangs"}
        assert set(table["problem_id"].to_pylist()) == {"a", "b", "c", "d"}
        asked_twice = [n for text, n in fake.seen.items() if n > 1 and not ("broken" in text or "hangs" in text)]
        assert not asked_twice, "halving a batch asks for nothing again"
    manifest = (work.artifact.folder.read_bytes("manifest.json")).decode()
    assert "127.0.0.1" not in manifest and '"model": "m"' in manifest
