"""Rankings in the label stage: the resumable batches, the headroom they report, and rows that cannot be labelled."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pde_artifacts import K, make_rankings, ranking_label_settings, rollout_settings_of
from stepward.core.artifacts import Artifact
from stepward.core.seeding import Rng
from stepward.domains.pde.data import fields_of, pde_states, tensor_column
from stepward.domains.pde.ranking_labels import RankingTask
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.evaluate.ranking import held_out_rankings, score_all
from stepward.evaluate.work import EvaluateWork
from stepward.rewards.factory import Oracle


def labels_of(store: Path) -> tuple[Artifact, pa.Table]:
    artifact = Artifact(str(store), "pde", "label", "default")
    return artifact, artifact.folder.read_table("labels").sort_by("id")


def test_other_batches_make_the_same_rankings(store: Path, tmp_path: Path) -> None:
    artifact, _ = labels_of(store)
    (tmp_path / "pde").mkdir()
    (tmp_path / "pde" / "pretrain").symlink_to(store / "pde" / "pretrain")
    again = make_rankings(tmp_path, batch_size=100)
    assert again.manifest().rows == artifact.manifest().rows
    near = again.folder.read_table("labels").sort_by("id")
    assert np.allclose(fields_of(near, "errors"), fields_of(labels_of(store)[1], "errors"), rtol=1e-4)
    assert again.manifest().identity == artifact.manifest().identity, "identity does not depend on the store"


def test_the_surrogate_is_an_input_of_the_labels(store: Path) -> None:
    manifest = labels_of(store)[0].manifest()
    surrogate = Artifact(str(store), "pde", "pretrain", "default").manifest()
    assert manifest.inputs["pretrain/default"]["fingerprint"] == surrogate.fingerprint
    assert manifest.identity["proposer"]["surrogate"] == "artifacts/pde/pretrain/default"


def test_headroom_is_what_the_best_of_k_saves(store: Path) -> None:
    artifact, table = labels_of(store)
    train = table.filter(pa.compute.equal(table["split"], "train"))
    best = fields_of(train, "errors").astype(np.float64).min(axis=1)
    metrics = artifact.folder.read_json("metrics.json")
    for column, name in enumerate(("deterministic", "mean_of_k")):
        base = fields_of(train, "baseline_errors").astype(np.float64)[:, column]
        saved = (base - best) / base.mean()
        assert np.isclose(metrics[f"headroom_over_{name}.train"], saved.mean())
        assert np.isclose(metrics[f"headroom_over_{name}_se.train"], saved.std(ddof=1) / np.sqrt(len(saved)))
    assert artifact.manifest().cost["candidates"] == len(table) * K


def test_baselines_are_errors_of_the_deterministic_output_and_of_the_mean(store: Path) -> None:
    settings = ranking_label_settings(store)
    _, table = labels_of(store)
    states = pde_states(table)
    rng = Rng.from_ids(0, table["id"].to_pylist(), "candidates")
    children = settings.here(settings.proposer).build().propose(states, num_candidates=K, rng=rng)
    mean = children.fields.reshape(len(states), K, *states.fields.shape[1:]).mean(axis=1)
    firsts = children.take(np.arange(len(states)) * K)
    verifier = ReferenceVerifier()
    expected = [-verifier.outcome(firsts.replace(fields=f)) for f in (firsts.deterministic, mean)]
    assert np.allclose(fields_of(table, "baseline_errors"), np.stack(expected, axis=1), rtol=1e-3)


def test_a_row_that_is_not_finite_is_a_dead_letter_and_its_neighbours_are_labelled(store: Path) -> None:
    settings = ranking_label_settings(store)
    columns = set(settings.here(settings.mining).mine(settings.problems.problems("test", 0)[0], 0).column_names)
    rows = labels_of(store)[1].select([*columns, "split"]).slice(0, 3)
    fields = fields_of(rows).copy()
    fields[1, 0, 3, 3] = np.nan
    rows = rows.set_column(rows.column_names.index("fields"), "fields", tensor_column(fields))
    task = RankingTask(settings, in_flight=64)
    labels, rejected = task(rows)
    assert labels["id"].to_pylist() == [rows["id"][0].as_py(), rows["id"][2].as_py()]
    assert [row.id for row in rejected] == [rows["id"][1].as_py()] and "finite" in rejected[0].error
    assert task.no_labels(rows).schema.names == labels.schema.names


def test_an_evaluation_meets_the_very_candidates_that_were_labelled(store: Path) -> None:
    work = EvaluateWork(rollout_settings_of(store), 4)
    rankings = held_out_rankings(work.labels.folder, "test", max_states=100, seed=0)
    truth = Oracle(ReferenceVerifier())
    scores = score_all(rankings, truth, proposer=work.proposers.policy, seed=0, wing=work.wing)
    assert np.allclose(-scores, fields_of(rankings, "errors"), rtol=1e-3)
    few = held_out_rankings(work.labels.folder, "test", max_states=2, seed=0)
    assert len(few) == 2 and set(few["id"].to_pylist()) < set(rankings["id"].to_pylist())
