"""Files of trajectories: parts in any order make one file, which later stages read as their problems."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.domains.pde.data import PDEProblems, fields_of
from stepward.domains.pde.flows import Flow
from stepward.domains.pde.readers import read_grid
from stepward.domains.pde.references import trajectories
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
    assert manifest.rows == {"trajectories": 20, "dead_letters": 0} and manifest.facts["shape"] == [5, 4, 16, 16]
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
    name = Flow("gaussian", cells=16, num_steps=4, dt=0.05, seed=0, index=7).name
    assert np.allclose(fields_of(problems)[0], trajectories([name])[0][0])
    assert set(labels.inputs()) >= {"data/default"}, "labels know the file they were made from"


def test_burgers_has_one_channel_and_stays_finite(tmp_path: Path) -> None:
    settings = made(tmp_path, {"kind": "burgers", "num": 3, **SMALL})
    manifest = settings.artifact("data").manifest()
    assert manifest.facts["shape"] == [5, 1, 16, 16] and manifest.facts["channels"] == ["velocity"]
    assert manifest.rows == {"trajectories": 3, "dead_letters": 0}


def test_a_published_file_is_converted_and_a_bad_trajectory_becomes_a_dead_letter(tmp_path: Path) -> None:
    fields = np.ones((12, 4, 5, 16, 16), np.float32)  # [samples, frames, channels, x, y] of PDEGym
    fields[:, :, 4] = 1 / 0.4 + 1  # the energy of density, velocity and pressure 1
    fields[1, 2, 0, 3, 3] = np.nan
    with h5py.File(tmp_path / "gas.nc", "w") as file:
        file["data"] = fields
    settings = made(tmp_path, {"kind": "pdegym", "path": str(tmp_path / "gas.nc")})
    artifact = settings.artifact("data")
    assert artifact.manifest().rows == {"trajectories": 11, "dead_letters": 1}
    assert artifact.manifest().facts["channels"] == ["density", "momentum_x", "momentum_y", "energy"]
    [dead] = artifact.folder.read_table("dead_letters.parquet").to_pylist()
    assert dead["id"] == "gas.nc:1" and "density, got nan in frame 2" in dead["error"]
    table, rejected = PDEProblems(path=f"{artifact.url}/trajectories.parquet", horizon=3).problems("train", 0)
    assert len(table) == 8 and [row.id for row in rejected] == ["gas.nc:1"]
    np.testing.assert_array_equal(fields_of(table)[:, :, 0, 0], [[1, 1, 1, 3.5]] * 8)


def test_a_file_without_one_usable_trajectory_is_an_answer_that_says_why(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "gas.nc", "w") as file:
        file["data"] = np.zeros((3, 4, 5, 8, 8), np.float32)
    assert "3 were rejected, first gas.nc:0: expected finite positive density, got 0.0" in answer(
        tmp_path, {"kind": "pdegym", "path": str(tmp_path / "gas.nc")}
    )


def test_a_boundary_that_nobody_says_is_asked_for(tmp_path: Path) -> None:
    source = {"kind": "pdebench", "path": str(tmp_path / "flow.hdf5")}
    with h5py.File(tmp_path / "flow.hdf5", "w") as file:
        for name in ("density", "pressure", "Vx", "Vy"):
            file[name] = np.ones((2, 4, 8, 8), np.float32)
        file["x-coordinate"] = file["y-coordinate"] = (np.arange(8) + 0.5) / 8
        file["t-coordinate"] = 0.1 * np.arange(5)
    assert "the boundary is unknown, and nothing is taken for periodic unasked" in answer(tmp_path, source)
    settings = made(tmp_path, {**source, "boundary": ["outflow", "wall"], "gamma": 1.3})
    grid = read_grid(f"{settings.artifact('data').url}/trajectories.parquet")
    assert grid.boundary == ("outflow", "wall") and grid.parameters["gamma"] == 1.3


def answer(root: Path, source: dict[str, Any]) -> str:
    """The error of the worker that reads this source."""
    settings = override(data_job(find_wing("pde")), {"store": str(root), "name": "bad", "source": source}, {})
    [error] = DataWorker(settings.model_dump(mode="json", exclude={"overwrite"}))({"item": ["file"]})["error"]
    assert not settings.artifact("data").folder.files("parts")
    return error


def test_a_missing_file_is_an_answer_that_says_so(tmp_path: Path) -> None:
    values = {"store": str(tmp_path), "source": {"kind": "pdegym", "path": f"{tmp_path}/nothing.nc"}}
    settings = override(data_job(find_wing("pde")), values, {})
    answer = DataWorker(settings.model_dump(mode="json", exclude={"overwrite"}))({"item": ["file"]})
    assert "expected a file in the layout of pdegym, but there is no" in answer["error"][0]
    with pytest.raises(ValueError, match="'walk' makes its problems when it labels them"):
        data_job(find_wing("walk"))
