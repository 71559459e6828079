"""Rollouts of arms: their errors, costs and blow-ups, and that no result depends on how the work is cut."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pde_artifacts import ARMS, do_all, rollout_settings_of
from stepward.core.artifacts import ArtifactError
from stepward.domains.pde.data import pde_states
from stepward.domains.pde.metrics import CONVENTIONS, per_frame
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.surrogates import load_surrogate
from stepward.domains.pde.verifier import MEASURES
from stepward.evaluate.trials import cut_where_blown_up, run_arm, select, trial_table
from stepward.evaluate.work import EvaluateWork
from stepward.report.tables import tensor_rows
from stepward.rewards import Composite, Part

HORIZON = 4


def rows_of(work: EvaluateWork, arm: str) -> pa.Table:
    return select(tables_of(work)["trials"], "arms", arm)


@lru_cache
def tables_of(work: EvaluateWork) -> dict[str, pa.Table]:
    return work.tables()


def test_errors_of_the_deterministic_arm_are_those_of_the_surrogate_rolled_out_by_hand(
    store: Path, done: EvaluateWork
) -> None:
    import torch

    surrogate = load_surrogate(str(store / "pde/pretrain/default"))
    table = rows_of(done, "deterministic")
    names = table["problem_id"].to_pylist()
    truth = np.stack(trajectories(names))
    fields, frames = torch.from_numpy(truth[:, 0].copy()), []
    with torch.inference_mode():
        for _ in range(HORIZON):
            fields = surrogate(fields)
            frames.append(fields.numpy())
    for convention in CONVENTIONS:
        expected = per_frame(convention, np.stack(frames, axis=1), truth[:, 1 : HORIZON + 1])
        assert np.allclose(np.array(table[convention].to_pylist()), expected, rtol=1e-4), convention
    assert table["steps"].to_pylist() == [HORIZON] * len(names) and table["blew_up_at"].null_count == len(names)
    assert table["nfe"].to_pylist() == [HORIZON] * len(names), "one pass a step, and nothing else"


def test_other_shards_give_the_same_rollouts(store: Path, done: EvaluateWork) -> None:
    settings = rollout_settings_of(store, name="whole", arms={k: ARMS[k] for k in ("random", "prm", "deterministic")})
    whole = do_all(settings, shard_size=16)
    for arm in ("random", "prm"):
        near, far = rows_of(done, arm), rows_of(whole, arm)
        assert near["problem_id"] == far["problem_id"]
        assert np.allclose(np.array(near["nrmse"].to_pylist()), np.array(far["nrmse"].to_pylist()), rtol=1e-4)


def test_the_scorer_is_charged_and_the_oracle_is_least_wrong_after_one_step(done: EvaluateWork) -> None:
    cost = {arm: rows_of(done, arm) for arm in ARMS}
    flops = {arm: rows["flops"].to_numpy().mean() for arm, rows in cost.items()}
    assert flops["prm"] > flops["random"] > 0 and np.isclose(flops["random"], flops["deterministic"])
    assert cost["prm"]["scored"].to_pylist() == [HORIZON * 4] * 4, "4 candidates a step"
    assert (cost["ahead"]["nfe"].to_numpy() > cost["prm"]["nfe"].to_numpy()).all(), "lookahead runs the surrogate"
    first = {arm: np.array([row[0] for row in rows["nrmse"].to_pylist()]) for arm, rows in cost.items()}
    for arm in ("random", "prm", "both", "ahead"):
        assert (first["oracle"] <= first[arm] + 1e-9).all(), f"the same candidates, but a better choice than {arm}"


def test_a_rollout_blows_up_where_it_is_not_finite_or_beyond_the_limit() -> None:
    errors = np.array([[0.1, 0.2, 0.3], [0.1, 20.0, 30.0], [0.1, np.nan, np.nan]])
    steps, failed = np.array([3, 3, 1]), np.array([False, False, True])
    found, blew_up_at = cut_where_blown_up(errors, steps, failed, MEASURES[0], limit=10.0)
    assert found.tolist() == [3, 1, 1] and blew_up_at == [None, 2, 2]
    found, blew_up_at = cut_where_blown_up(errors, steps, failed, MEASURES[0], limit=None)
    assert found.tolist() == [3, 3, 1] and blew_up_at == [None, None, 2]


def test_a_hard_budget_ends_rollouts_and_they_are_not_whole(store: Path) -> None:
    settings = rollout_settings_of(store, arms={"prm": {"guide": "prm", "limits": {"nfe": 2}}}, references=["prm"])
    work = EvaluateWork(settings, 4)
    parts = {"guide": work.guides["prm"], "proposer": work.proposers(), "wing": work.wing, "seed": 0}
    ran = run_arm(work.problems, settings.arms["prm"], num_candidates=4, keep_tree=True, **parts)
    table = trial_table(ran, work.wing, headline=MEASURES[0])
    assert table["whole"].to_pylist() == [False] * 4
    assert table["steps"].to_pylist() == [2] * 4 and table["blew_up_at"].null_count == 4
    assert [len(row) for row in table["nrmse"].to_pylist()] == [2] * 4


def test_weighted_guides_standardise_among_siblings(store: Path) -> None:
    settings = rollout_settings_of(store)
    work = EvaluateWork(settings, 4)
    problems = work.problems
    parents = pde_states(problems).take(np.repeat(np.arange(4), 3))
    from stepward.core.seeding import Rng

    children = work.proposers().propose(pde_states(problems), num_candidates=3, rng=Rng.from_seed(0, 4, "test"))
    guides = work.guides
    both, parts = guides["both"], [guides[name] for name in ("prm", "near_deterministic")]
    z = []
    for part in parts:
        scores = part.score(parents, children).reshape(4, 3)
        z.append((scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True))
    assert np.allclose(both.score(parents, children), (z[0] / 3 + 2 * z[1] / 3).ravel(), atol=1e-6)


def test_a_weighted_guide_puts_what_a_part_cannot_use_last(store: Path) -> None:
    class Broken:
        num_parameters = 0

        def score(self, parents: object, children: object) -> np.ndarray:
            return np.array([-1e6, 0.0, 1.0])

    settings = rollout_settings_of(store)
    states = pde_states(EvaluateWork(settings, 4).problems).take(np.zeros(3, int))
    guide = Composite({"broken": Part(Broken(), transform="siblings")}, settings.wing.domain)
    assert guide.score(states, states).argsort().tolist() == [0, 1, 2]


def test_pictures_show_the_choice_among_the_candidates(done: EvaluateWork) -> None:
    rows = tensor_rows(tables_of(done)["pictures"])
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and len({row["problem_id"] for row in rows}) == 1
    for row in rows:
        assert np.array_equal(row["candidates"][row["chosen"]], row["choice"])
        assert row["chosen"] == row["candidate_scores"].argmax()
    own = rows_of(done, "prm").filter(pc.equal(rows_of(done, "prm")["problem_id"], rows[0]["problem_id"]))
    errors = [row["candidate_errors"][row["chosen"]] for row in rows]
    assert np.allclose(errors, own["nrmse"].to_pylist()[0], rtol=1e-4), "the rollout that was evaluated"


def test_the_log_of_steps_has_every_candidate_and_the_parts_of_its_score(done: EvaluateWork) -> None:
    log = tables_of(done)["steps"].to_pandas()
    guided = {"random", "prm", "both", "ahead", "oracle", "mean", "near_deterministic"}
    assert set(log.arm) == guided, "arms that have a guide, a rival that scores among them"
    sizes = log.groupby(["arm", "problem_id"]).size()
    assert sizes.drop("mean").eq(4 * HORIZON).all() and log.problem_id.nunique() == 2
    assert sizes["mean"].eq(HORIZON).all(), "what is composed is one child a step"
    both = log[log.arm == "both"]
    assert both[["score/prm", "score/near_deterministic"]].notna().all().all() and both["score/random"].isna().all()
    chosen = log[log.chosen].groupby(["arm", "problem_id", "step"]).size()
    assert chosen.eq(1).all() and len(chosen) == len(guided) * 2 * HORIZON
    alone = log[log.arm == "prm"]
    assert np.allclose(alone["score/prm"], alone.score, rtol=1e-4)


def test_a_missing_reward_model_is_named_before_anything_runs(store: Path) -> None:
    arms = {"critic": {"guide": "critic"}}
    guides = {"critic": {"kind": "trained", "artifact": "critic"}}
    settings = rollout_settings_of(store, arms=arms, guides=guides, references=["critic"])
    with pytest.raises(ArtifactError, match=r"train/critic.*jobs/train.py.* name=critic"):
        EvaluateWork(settings, 4).prepare()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {"prm": {"guide": "pmr"}}}, "arms.prm.guide: expected a guide among .*'pmr'"),
        ({"references": ["nobody"]}, "references: expected one of .*'nobody'"),
        ({"oracle": "nobody"}, "oracle: expected one of .*'nobody'"),
        ({"pictures": {"arm": "nobody"}}, "pictures.arm: expected one of .*'nobody'"),
        ({"rankings": {"guides": ["nobody"]}}, "rankings: expected one of .*'nobody'"),
        ({"arms": {"prm": {"guide": "prm", "step_factor": 2}}}, "solutions of 'pde' have no step budget"),
        ({"samples": {}}, "samples: expected none, because solutions of 'pde' state no answer"),
        ({"proposer": "structurd"}, "Unknown proposer 'structurd'.*Did you mean 'structured'"),
        ({"arms": {"prm": {"guide": "prm", "limits": {"nfes": 3}}}}, "expected kinds among"),
        ({"arms": {"prm": {"guide": "prm", "search": {"kind": "beem"}}}}, "Unknown search 'beem'"),
        ({"measure": "mse"}, "Unknown measure 'mse': expected one of"),
        ({"guides": {"both": {"kind": "composite", "parts": {"prm": {"weight": 0}}}}}, "above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(store: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rollout_settings_of(store, **changes)


def test_a_guide_may_be_called_like_a_column_of_the_log(store: Path) -> None:
    """The default guide `arm` (ARM) gave the log a second column `arm`, and the experiment died at its evaluation."""
    guides = {"arm": {"kind": "arm"}, "step": {"kind": "random"}, "score": {"kind": "near_deterministic"}}
    arms = {name: {"guide": name} for name in guides}
    settings = rollout_settings_of(store, name="names", guides=guides, arms=arms, references=["arm"], pictures=None)
    log = do_all(settings, shard_size=16).tables().get("steps")
    assert log is not None and {"arm", "step", "score", "score/arm", "score/step", "score/score"} <= set(
        log.column_names
    )
    assert set(log["arm"].to_pylist()) == set(guides)
