"""A trained reward model as an MLflow model of code and safetensors: nothing is pickled.

    model = mlflow.pyfunc.load_model("models:/m-…")      # the id is shown in the MLflow page of the training run
    scores = model.predict(frame)                        # frame: one state a row, the columns of the label tables

This file is both the writer and, as a model from code, what MLflow runs to load the model. Loading needs this package.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from mlflow.pyfunc import PythonModel

from stepward.core.artifacts import MANIFEST, Artifact, Manifest
from stepward.core.storage import Folder
from stepward.core.tracked_run import flatten
from stepward.core.wing import find_wing
from stepward.rewards.factory import load_trained

FILES = ("weights.safetensors", "reward.json", "calibration.json")
LABEL_COLUMNS = frozenset({"split", "successes", "num_rollouts", "exact", "status", "error"})


class TrackedReward(PythonModel):
    """Scores of states given as a data frame; higher is better."""

    def load_context(self, context: Any) -> None:
        """Build the reward model from the files logged beside the code."""
        folder = Folder(context.artifacts["reward"])
        self.wing = find_wing(folder.read_json("reward.json")["domain"])
        self.reward = load_trained(folder, self.wing)

    def predict(
        self, context: object, model_input: pd.DataFrame, params: dict[str, object] | None = None
    ) -> np.ndarray:
        """One score a row, of the step that led to the state; where a domain scores steps, of the step of the row."""
        if self.wing.steps is not None:
            return self.reward.score(*self.wing.steps(pa.Table.from_pandas(model_input, preserve_index=False)))
        states = self.wing.states(state_table(model_input))
        return self.reward.score(states, states)


def state_table(frame: pd.DataFrame) -> pa.Table:
    """A data frame of states as the table a wing reads: columns whose lists are all of one length get it."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for position, column in enumerate(table.column_names):
        values = table[column].combine_chunks()
        lengths = pc.list_value_length(values).unique().to_pylist() if pa.types.is_list(values.type) else []
        if len(lengths) == 1 and lengths[0] is not None:
            fixed = pa.FixedSizeListArray.from_arrays(values.flatten(), lengths[0])
            table = table.set_column(position, column, fixed)
    return table


def log_reward_model(run: str, experiment: str, artifact: Artifact, manifest: Manifest, uri: str) -> None:
    """Log the reward model of a finished train artifact to its run, with five states as an example where there are any.

    Args:
        run, experiment: ids in the store at `uri`.
        artifact, manifest: of the training.
        uri: of the store.
    """
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints about integer columns
            folder = Folder(f"{scratch}/reward")
            for name in FILES:
                if name in manifest.files:
                    folder.write_bytes(name, artifact.folder.read_bytes(name))
            described = folder.read_json("reward.json")
            model = mlflow.MlflowClient(uri).create_logged_model(
                experiment,
                name=f"{artifact.name}-{described['kind']}",
                source_run_id=run,
                params={"kind": described["kind"], **flatten(described["settings"])},
                tags={"stepward.fingerprint": manifest.fingerprint},
                model_type="reward_model",
            )
            mlflow.models.Model.log(
                artifact_path=None,
                model_id=model.model_id,
                flavor=mlflow.pyfunc,
                run_id=run,
                python_model=__file__,
                artifacts={"reward": f"{scratch}/reward"},
                pip_requirements=[f"stepward=={manifest.versions['stepward']}"],
                **_example(manifest, folder),
            )
    finally:
        mlflow.set_tracking_uri(before)


def _example(manifest: Manifest, folder: Folder) -> dict[str, object]:
    """An input example and its signature, of labels the model was trained on; nothing where these are gone."""
    source = manifest.inputs.get("label", {}).get("url")
    if source is None or not Folder(source).exists(MANIFEST):
        return {}
    labels, wing = Folder(source), find_wing(folder.read_json("reward.json")["domain"])
    if wing.steps is not None:
        return {}  # fields are too large to show
    first = next(name for name in labels.files("labels") if name.endswith(".parquet"))
    table = labels.read_table(first)
    rows = table.select([name for name in table.column_names if name not in LABEL_COLUMNS]).slice(0, 5).to_pylist()
    frame = pd.DataFrame(rows)
    states = wing.states(state_table(frame))
    scores = load_trained(folder, wing).score(states, states)
    return {"input_example": frame, "signature": mlflow.models.infer_signature(frame, scores)}


mlflow.models.set_model(TrackedReward())
