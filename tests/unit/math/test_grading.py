import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepward.domains.math.grading import (
    Grader,
    GraderLimits,
    append_disagreements,
    final_answer,
    find_disagreements,
    regex_grade,
)
from stepward.domains.math.grading.pool import WorkerPool
from stepward.domains.math.readers import read_gsm8k_model_solutions, read_math


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        yield grader


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool()
    yield pool
    pool.close()


def verdict(grader, answer, gold):
    (result,) = grader.grade([answer], [gold])
    return result


SAME = [
    ("1,234", "1234"),
    ("1{,}234", "1234"),
    ("1\\,234", "1234"),
    ("40,\\!000", "40000"),
    ("12,345.5", "12345.5"),
    ("\\frac12", "0.5"),
    ("0.5", "\\frac12"),
    ("0.5", "1/2"),
    ("1/2", "\\frac{1}{2}"),
    ("1.50", "1.5"),
    ("x=5", "5"),
    ("18\\text{ dollars}", "18"),
    ("$18", "18"),
    ("\\$18.00", "18"),
    ("10^3", "1000"),
    ("2,1,3", "\\{1,2,3\\}"),
    ("(x+1)^2", "x^2+2x+1"),
    ("-0", "0"),
]
DIFFERENT = [
    ("1", "21"),
    ("21", "1"),
    ("12", "1,2"),
    ("-5", "5"),
    ("0.5001", "0.5"),
    ("\\frac13", "0.5"),
    ("(1,2)", "(2,1)"),
    ("x+1", "x+2"),
    ("\\text{Evelyn}", "\\text{Oscar}"),
]


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_equal_forms_are_accepted(grader, answer, gold):
    assert verdict(grader, answer, gold).correct


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_other_values_are_rejected(grader, answer, gold):
    result = verdict(grader, answer, gold)
    assert not result.correct
    assert result.reason == "different"


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ("", "1", "empty"),
        (" \n", "1", "empty"),
        ("1", "", "no reference"),
        ("9" * 10_000, "9", "too long"),
        ("1" + "+1" * 450, "451", "too many digits"),
        ("$", "1", "unparsable"),
    ],
)
def test_what_cannot_be_read_is_wrong_for_a_stated_reason(grader, answer, gold, reason):
    result = verdict(grader, answer, gold)
    assert (result.correct, result.reason) == (False, reason)


@pytest.mark.parametrize(
    "answer", ["\\frac{1", "\\begin{pmatrix} 1 &", "{" * 30, "\\left(", "\ud800", "\x00", "\\", "^"]
)
def test_broken_latex_is_a_verdict(grader, answer):
    assert not verdict(grader, answer, "1").correct


NEVER_ENDING = ["9^{9^{9^{9}}}", "(10^8)!", "{" * 400 + "1" + "}" * 400]


def test_never_ending_answers_are_killed_and_the_rest_is_judged(grader):
    answers = [*NEVER_ENDING, "\\sqrt{0.25}"]
    results = grader.grade(answers, ["0.5"] * len(answers))
    assert [r.correct for r in results] == [False] * len(NEVER_ENDING) + [True]
    assert {r.reason for r in results[:-1]} == {"time-out"}
    assert max(r.seconds for r in results) <= 5


@settings(max_examples=40)
@given(st.integers(-10_000, 10_000), st.integers(-10_000, 10_000), st.booleans(), st.booleans())
def test_short_cuts_agree_with_math_verify_on_integers(grader, pool, a, b, same, grouped):
    b = a if same else b
    answer = f"{a:,}" if grouped else str(a)
    (judged,) = pool.judge([(answer, str(b))])
    assert judged.correct == verdict(grader, answer, str(b)).correct == (a == b)


def test_identical_text_is_correct_for_math_verify_too(shared_data, pool):
    golds = sorted({p.answer for p in read_math(shared_data / "math" / "test500.jsonl")[0]})
    judged = pool.judge([(gold, gold) for gold in golds])
    assert [gold for gold, j in zip(golds, judged, strict=True) if not j.correct] == []


def test_order_and_duplicates(grader):
    answers, golds = ["\\frac12", "3", "\\frac12", "", "0.25"], ["0.5", "4", "0.5", "1", "\\frac14"]
    assert [v.correct for v in grader.grade(answers, golds)] == [True, False, True, False, True]
    assert grader.grade([], []) == []


def test_several_workers_give_the_same_verdicts(grader):
    pairs = [(f"\\sqrt{{\\frac{{{n}}}{{{d}}}}}", f"{(n / d) ** 0.5:.8f}") for n in range(1, 9) for d in (2, 4, 5, 8)]
    answers, golds = zip(*pairs, strict=True)
    with Grader(num_workers=2) as two:
        assert [v.correct for v in two.grade(answers, golds)] == [v.correct for v in grader.grade(answers, golds)]
    assert all(v.correct for v in grader.grade(answers, golds))


def test_lengths_must_agree(grader):
    with pytest.raises(ValueError, match="1 answers and 2 references"):
        grader.grade(["1"], ["1", "2"])
    with pytest.raises(ValueError, match="num_workers"):
        Grader(num_workers=0)
    with pytest.raises(ValueError, match="limits above 0"):
        GraderLimits(seconds=0)


def stat(pid):
    """State, parent, ... of a process: the fields of /proc/<pid>/stat after its name, or None."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid):
    return (stat(pid) or "Z")[0] != "Z"


def workers_of(pid):
    """Process ids of the living grading workers whose parent is `pid`."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    children = [child for child in pids if alive(child) and int((stat(child) or ["Z", 0])[1]) == pid]
    commands = {child: (Path("/proc") / str(child) / "cmdline").read_bytes() for child in children}
    return {child for child, command in commands.items() if b"grading/worker.py" in command}


def test_a_worker_killed_from_outside_is_replaced():
    with Grader() as grader:
        before = workers_of(os.getpid())
        assert verdict(grader, "\\sqrt{4}", "2").correct
        (worker,) = workers_of(os.getpid()) - before
        os.kill(worker, signal.SIGKILL)
        assert verdict(grader, "\\sqrt{9}", "3").correct


def test_works_from_a_thread(grader):
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(verdict(grader, f"\\sqrt{{{n * n}}}", str(n)).correct))
        for n in (1, 3, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3


PARENT = """
import sys
from stepward.domains.math.grading import Grader
grader = Grader()
grader.grade([{first!r}], ["2"])
print("ready", flush=True)
if {busy}: grader.grade(["9^{{9^{{9^{{9}}}}}}"], ["1"])
sys.stdin.read()
"""


@pytest.mark.parametrize("busy", [False, True])
def test_workers_leave_when_their_parent_is_killed(project_root, busy):
    env = {**os.environ, "PYTHONPATH": str(project_root / "platform")}
    code = PARENT.format(first="\\sqrt{4}", busy=busy)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    assert parent.stdout.readline() == "ready\n"
    (worker,) = workers_of(parent.pid)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30  # 1 s of processor time on a machine that may be busy
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(worker)


def test_memory_is_limited(grader):
    assert verdict(grader, "\\sqrt{16}", "4").correct
    workers = workers_of(os.getpid())
    assert workers
    for worker in workers:
        limits = (Path("/proc") / str(worker) / "limits").read_text()
        assert re.search(r"Max address space\s+(\d+)", limits)[1] == str(1 << 30)


FORK = """
import os
from stepward.domains.math.grading import Grader
grader = Grader()
right = lambda: grader.grade(["\\\\sqrt{4}"], ["2"])[0].correct
assert right()
(worker,) = grader._pool._workers.values()
child = os.fork()
if child == 0:
    fine = right()
    grader.close()
    os._exit(0 if fine else 1)
assert os.waitpid(child, 0)[1] == 0
assert right() and grader._pool._workers[0] is worker and worker.process.poll() is None
"""


def test_a_fork_gets_workers_of_its_own_and_leaves_its_parent_s_alone(project_root):
    env = {**os.environ, "PYTHONPATH": str(project_root / "platform")}
    subprocess.run([sys.executable, "-c", FORK], env=env, check=True, timeout=120)


def test_idle_workers_use_no_processor_time(grader):
    before = workers_of(os.getpid())
    assert verdict(grader, "\\sqrt{25}", "5").correct
    (worker, *_) = before | workers_of(os.getpid())

    def ticks():
        return sum(map(int, stat(worker)[11:13]))

    start = ticks()
    time.sleep(0.5)
    assert ticks() - start <= 1  # of 50


def test_a_missing_math_verify_is_an_error_and_no_verdict(monkeypatch, tmp_path):
    (tmp_path / "math_verify.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Grader() as grader, pytest.raises(RuntimeError, match=r"not here.*Check that math-verify imports"):
        grader.grade(["\\sqrt{4}"], ["2"])


def test_agrees_with_the_published_verdicts(shared_data, grader):
    solutions, rejected = read_gsm8k_model_solutions(shared_data / "gsm8k" / "example_model_solutions.jsonl")
    assert (len(solutions), rejected) == (1319 * 4, [])
    texts, golds = [s.text for s in solutions], [s.problem.answer for s in solutions]
    wrong = [
        (s.id, final_answer(s.text), s.problem.answer, v.reason)
        for s, v in zip(solutions, grader.grade_solutions(texts, golds), strict=True)
        if v.correct != s.correct
    ]
    assert wrong == []
    assert regex_grade(texts, golds) == [s.correct for s in solutions]


def test_disagreements_are_found_and_logged(grader, tmp_path):
    ids, golds = ["half", "wrong", "same"], ["0.5", "3", "4"]
    texts = ["so \\boxed{\\frac12}", "#### 5", "#### 4.0"]
    found = find_disagreements(ids, texts, golds, grader=grader)
    assert [(d.id, d.regex_correct, d.correct, d.reason) for d in found] == [("half", False, True, "equal")]
    log = tmp_path / "disagreements.jsonl"
    append_disagreements(log, found)
    append_disagreements(log, found)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["answer"] for row in rows] == ["\\frac12", "\\frac12"]
