"""Files of trajectories: parts in any order make one file, which later stages read as their problems."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.domains.pde.data import PDEProblems, fields_of
from stepward.domains.pde.references import euler_name, trajectories
from stepward.label import label_settings
from stepward.runtime.data_stage import DataJob, DataWorker, _join, data_job

SMALL = {"cells": 16, "num_steps": 4}


def made(root: Path, source: dict[str, Any], order: int = 1, **changes: Any) -> DataJob:
    """The artifact by the workers that the pool runs, one item after another."""
    values = {"store": str(root), "source": source, "tracking": {"enabled": False}}
    settings: DataJob = override(data_job(find_wing("pde")), values, changes)
    settings.artifact("data").begin(settings.identity())
    worker = DataWorker(settings.model_dump(mode="json", exclude={"overwrite"}))
    for item in settings.source.items()[::order]:
        assert worker({"item": [item]})["error"] == [""]
    _join(settings, settings.artifact("data"), 0.0)
    return settings


def test_the_file_holds_the_flows_in_order_and_is_read_as_problems(tmp_path: Path) -> None:
    settings = made(tmp_path, {"kind": "euler2d", "num": 20, **SMALL}, order=-1)
    artifact = settings.artifact("data")
    manifest = artifact.open()
    assert manifest.rows == {"trajectories": 20, "bad": 0} and manifest.facts["shape"] == [5, 4, 16, 16]
    assert (
        not artifact.folder.files("parts") and "density, momentum_x" in artifact.folder.read_bytes("README.md").decode()
    )
    again = made(tmp_path, {"kind": "euler2d", "num": 20, **SMALL}, name="again")
    assert again.artifact("data").manifest().digest == manifest.digest

    path = "artifacts/pde/data/default/trajectories.parquet"
    labels = override(
        label_settings(find_wing("pde")), {"store": str(tmp_path), "problems": {"path": path, "horizon": 3}}, {}
    )
    problems, rejected = labels.here(labels.problems).problems("validation", 0)
    assert not rejected and [name.rpartition("#")[2] for name in problems["reference"].to_pylist()] == ["7", "17"]
    name = euler_name("gaussian", cells=16, num_steps=4, dt=0.05, seed=0, index=7)
    assert np.allclose(fields_of(problems)[0], trajectories([name])[0][0])
    assert set(labels.inputs()) >= {"data/default"}, "labels know the file they were made from"


def test_burgers_has_one_channel_and_stays_finite(tmp_path: Path) -> None:
    settings = made(tmp_path, {"kind": "burgers", "num": 3, **SMALL})
    manifest = settings.artifact("data").manifest()
    assert manifest.facts["shape"] == [5, 1, 16, 16] and manifest.facts["channels"] == ["velocity"]
    assert manifest.rows == {"trajectories": 3, "bad": 0}


def test_a_published_file_is_converted_and_a_bad_one_names_its_trajectory(tmp_path: Path) -> None:
    fields = np.ones((3, 4, 5, 16, 16), np.float32)  # [samples, frames, channels, x, y] of PDEGym
    fields[:, :, 4] = 1 / 0.4 + 1  # the energy of density, velocity and pressure 1
    for name, value in (("good", 1.0), ("bad", np.nan)):
        fields[1, 2, 0, 3, 3] = value
        with h5py.File(tmp_path / f"{name}.nc", "w") as file:
            file["data"] = fields
    settings = made(tmp_path, {"kind": "file", "format": "pdegym", "path": str(tmp_path / "good.nc")})
    assert settings.artifact("data").manifest().rows == {"trajectories": 3, "bad": 0}
    source = PDEProblems(path=f"{settings.artifact('data').url}/trajectories.parquet", horizon=3)
    assert len(source.problems("train", 0)[0]) == 3
    values = {"store": str(tmp_path), "name": "bad", "source": {"kind": "file", "path": f"{tmp_path}/bad.nc"}}
    bad = override(data_job(find_wing("pde")), values, {})
    [error] = DataWorker(bad.model_dump(mode="json", exclude={"overwrite"}))({"item": ["file"]})["error"]
    assert "got nan in trajectory 1, frame 2" in error and not bad.artifact("data").folder.files("parts")


def test_a_missing_file_is_an_answer_that_says_so(tmp_path: Path) -> None:
    values = {"store": str(tmp_path), "source": {"kind": "file", "path": f"{tmp_path}/nothing.nc"}}
    settings = override(data_job(find_wing("pde")), values, {})
    answer = DataWorker(settings.model_dump(mode="json", exclude={"overwrite"}))({"item": ["file"]})
    assert "expected a file in the layout of pdegym, but there is no" in answer["error"][0]
    with pytest.raises(ValueError, match="'walk' makes its problems when it labels them"):
        data_job(find_wing("walk"))
