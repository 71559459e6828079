"""A trained reward model as an MLflow model of code and safetensors: nothing is pickled.

    model = mlflow.pyfunc.load_model("models:/m-…")      # the id is shown in the MLflow page of the training run
    scores = model.predict(frame)                        # frame: one state a row, the columns of the label tables

This file is both the writer and, as a model from code, what MLflow runs to load the model. Loading needs this package.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.pyfunc import PythonModel

from stepward.core.artifacts import MANIFEST, Artifact, Manifest
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.evaluate.arms import load_trained

FILES = ("weights.safetensors", "reward.json", "calibration.json")
LABEL_COLUMNS = frozenset({"split", "successes", "num_rollouts", "exact", "status", "error"})


class TrackedReward(PythonModel):
    """Scores of states given as a data frame; higher is better."""

    def load_context(self, context: Any) -> None:
        """Build the reward model from the files logged beside the code."""
        folder = Folder(context.artifacts["reward"])
        self.wing = find_wing(folder.read_json("reward.json")["domain"])
        self.reward = load_trained(folder, self.wing)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """One score a row, of the step that led to the state."""
        states = self.wing.states(state_table(model_input))
        return self.reward.score(states, states)


def state_table(frame: pd.DataFrame) -> pa.Table:
    """A data frame of states as the table a wing reads: columns of equally long lists become fixed-size lists."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for position, column in enumerate(table.column_names):
        values = table[column].combine_chunks()
        if pa.types.is_list(values.type) and len(values):
            fixed = pa.FixedSizeListArray.from_arrays(values.flatten(), len(values[0]))
            table = table.set_column(position, column, fixed)
    return table


def log_reward_model(run: str, artifact: Artifact, manifest: Manifest, uri: str) -> None:
    """Log the reward model of a finished train artifact to its run."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "reward")
            folder.mkdir()
            for name in FILES:
                if name in manifest.files:
                    (folder / name).write_bytes(artifact.folder.read_bytes(name))
            example = _example(manifest)
            mlflow.models.Model.log(
                artifact_path=None,
                name="reward_model",
                flavor=mlflow.pyfunc,
                run_id=run,
                python_model=__file__,
                artifacts={"reward": str(folder)},
                input_example=example,
                pip_requirements=[
                    f"{name}=={manifest.versions[name]}" for name in ("stepward",) if name in manifest.versions
                ],
                tags={"stepward.fingerprint": manifest.fingerprint},
                params=json.loads(json.dumps({"kind": artifact.folder.read_json("reward.json")["kind"]})),
            )
    finally:
        mlflow.set_tracking_uri(before)


def _example(manifest: Manifest) -> pd.DataFrame | None:
    """Five states of the labels the model was trained on; none where these are no longer there."""
    source = manifest.inputs.get("label", {}).get("url")
    if source is None or not Folder(source).exists(MANIFEST):
        return None
    folder = Folder(source)
    first = next(name for name in folder.files("labels") if name.endswith(".parquet"))
    table = folder.read_table(first)
    states = table.select([name for name in table.column_names if name not in LABEL_COLUMNS])
    return states.slice(0, 5).to_pandas()


mlflow.models.set_model(TrackedReward())
