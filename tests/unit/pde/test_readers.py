"""Readers on files in the published layouts, written here by the tools that write the real ones (netCDF4, h5py)."""

import tracemalloc
from functools import partial

import h5py
import netCDF4
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stepward.domains.pde.initial_conditions import sample_euler
from stepward.domains.pde.readers import (
    PDEGYM_CHANNELS,
    read_parquet,
    read_pdebench,
    read_pdegym,
    read_rejected,
    read_the_well,
    to_conserved,
    to_primitive,
    write_parquet,
)
from stepward.domains.pde.solver import EulerSolver, conserved_from_primitive, primitive_from_conserved

N, T, NX, NY = 5, 4, 8, 6


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    """Conserved trajectories [N, T, 4, NX, NY] of real flow."""
    initial = sample_euler("gaussian", seed=0, indices=range(N), resolution=8)[..., :NY]
    return EulerSolver(extent=(1.0, NY / NX)).simulate(np.ascontiguousarray(initial), num_steps=T - 1, dt=0.05)


def _write_pdegym(path, states, *, channels=5, coordinates=False):
    primitive = primitive_from_conserved(states)
    data = np.concatenate([primitive, states[:, :, 3:]], axis=2)[:, :, :channels].astype(np.float32)
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        for name, size in zip(("sample", "time", "channel", "x", "y"), data.shape, strict=True):
            file.createDimension(name, size)
        if coordinates:
            file.createVariable("time", "f4", ("time",))[:] = 0.1 * np.arange(T)
            file.createVariable("x", "f4", ("x",))[:] = 0.5 * np.arange(NX)
        file.createVariable("data", "f4", ("sample", "time", "channel", "x", "y"))[:] = data
    return data


def _write_pdebench(path, states):
    primitive = primitive_from_conserved(states).astype(np.float32)
    with h5py.File(path, "w") as file:
        for channel, name in enumerate(("density", "Vx", "Vy", "pressure")):
            file[name] = primitive[:, :, channel]
        file["x-coordinate"] = ((np.arange(NX) + 0.5) / NX).astype(np.float32)
        file["y-coordinate"] = ((np.arange(NY) + 0.5) / NY).astype(np.float32)
        file["t-coordinate"] = (0.05 * np.arange(T + 1)).astype(np.float32)
        file.attrs["eta"], file.attrs["zeta"], file.attrs["M"] = 1e-8, 1e-8, 0.1
    return primitive


def _write_the_well(path, states):
    """The layout of euler_multi_quadrants: scalars, a vector, a constant field, a tensor."""
    with h5py.File(path, "w") as file:
        attributes = {"dataset_name": "euler", "grid_type": "cartesian", "n_spatial_dims": 2, "n_trajectories": N}
        file.attrs.update({**attributes, "gamma": 1.4, "simulation_parameters": ["gamma"]})
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        for name, values in (("time", 0.05 * np.arange(T)), ("x", np.arange(NX) / NX), ("y", np.arange(NY) / NX)):
            dimensions[name] = values.astype(np.float32)
            dimensions[name].attrs["sample_varying"] = False
        boundaries = file.create_group("boundary_conditions")
        for axis, kind in (("x", "PERIODIC"), ("y", "WALL")):
            group = boundaries.create_group(f"{axis}_boundary")
            group.attrs.update({"associated_dims": [axis], "associated_fields": [], "bc_type": kind})
            group["mask"] = np.zeros(NX if axis == "x" else NY, dtype=bool)
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = ["viscosity"]
        scalars["viscosity"] = np.array([0.25], dtype=np.float32)
        pressure = primitive_from_conserved(states)[:, :, 3]
        groups = {
            "t0_fields": {"density": states[:, :, 0], "energy": states[:, :, 3], "pressure": pressure, "mask": _mask()},
            "t1_fields": {"momentum": np.moveaxis(states[:, :, 1:3], 2, -1)},
            "t2_fields": {"stress": np.arange(4.0).reshape(2, 2) * np.ones((N, T, NX, NY, 1, 1))},
        }
        for name, fields in groups.items():
            group = file.create_group(name)
            group.attrs["field_names"] = list(fields)
            for field, values in fields.items():
                varying = field != "mask"
                group[field] = values.astype(np.float32)
                group[field].attrs.update(
                    {"sample_varying": varying, "time_varying": varying, "dim_varying": [True, varying]}
                )


def _mask():
    return np.arange(NX) > 2


def _join(blocks):
    blocks = list(blocks)
    ids = [name for block in blocks for name in block.ids]
    assert ids == [f"{blocks[0].grid.source}:{index}" for index in range(len(ids))]
    return np.concatenate([block.fields for block in blocks]), blocks[0].grid


def test_pdegym(tmp_path, states):
    data = _write_pdegym(tmp_path / "CE-Gauss.nc", states)
    fields, grid = _join(read_pdegym(tmp_path / "CE-Gauss.nc", block_size=2))
    np.testing.assert_array_equal(fields, data)
    assert grid.spacing == (1 / NX, 1 / NY)
    assert grid.dt == pytest.approx(1 / (T - 1))
    assert grid.boundary == ("periodic", "periodic")
    _write_pdegym(tmp_path / "timed.nc", states, coordinates=True)
    grid = next(read_pdegym(tmp_path / "timed.nc")).grid
    assert (grid.spacing, grid.dt) == (pytest.approx((0.5, 1 / NY)), pytest.approx(0.1))


def test_pdebench_flow(tmp_path, states):
    primitive = _write_pdebench(tmp_path / "2D_CFD_Rand_M0.1_periodic_Train.hdf5", states)
    fields, grid = _join(read_pdebench(tmp_path / "2D_CFD_Rand_M0.1_periodic_Train.hdf5", block_size=3))
    np.testing.assert_array_equal(fields, primitive)
    assert grid.channels == ("density", "velocity_x", "velocity_y", "pressure")
    assert grid.spacing == pytest.approx((1 / NX, 1 / NY))
    assert grid.dt == pytest.approx(0.05)
    assert grid.boundary == ("periodic", "periodic")
    assert grid.parameters["M"] == pytest.approx(0.1)


def test_pdebench_burgers(tmp_path):
    tensor = np.random.default_rng(0).normal(size=(N, T, 16)).astype(np.float32)
    with h5py.File(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", "w") as file:
        file["tensor"] = tensor
        file["x-coordinate"], file["t-coordinate"] = (np.arange(16) + 0.5) / 16, 0.01 * np.arange(T + 1)
        file.attrs["Nu"] = 0.01
    fields, grid = _join(read_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", block_size=4))
    np.testing.assert_array_equal(fields[:, :, 0], tensor)
    assert (grid.channels, grid.axes, grid.boundary, grid.parameters) == (("u",), ("x",), ("periodic",), {"Nu": 0.01})


def test_the_well(tmp_path, states):
    _write_the_well(tmp_path / "euler.hdf5", states)
    fields, grid = _join(read_the_well(tmp_path / "euler.hdf5", block_size=2))
    names = ("density", "energy", "pressure", "mask", "momentum_x", "momentum_y")
    assert grid.channels == (*names, "stress_xx", "stress_xy", "stress_yx", "stress_yy")
    np.testing.assert_array_equal(fields[:, :, [0, 4, 5, 1]], states.astype(np.float32))
    np.testing.assert_array_equal(fields[:, :, 3], np.broadcast_to(_mask()[:, None], (N, T, NX, NY)))
    np.testing.assert_array_equal(fields[2, 1, 6:, 3, 3], np.arange(4.0))
    assert grid.boundary == ("periodic", "wall")
    assert grid.parameters["gamma"] == pytest.approx(1.4)
    assert grid.parameters["viscosity"] == pytest.approx(0.25)
    assert (grid.spacing, grid.dt) == (pytest.approx((1 / NX, 1 / NX)), pytest.approx(0.05))
    chosen, grid = _join(read_the_well(tmp_path / "euler.hdf5", fields=["momentum", "density"]))
    assert grid.channels == ("momentum_x", "momentum_y", "density")
    np.testing.assert_array_equal(chosen, states[:, :, [1, 2, 0]].astype(np.float32))


def test_every_format_gives_the_same_conserved_state(tmp_path, states):
    _write_pdegym(tmp_path / "gym.nc", states)
    _write_pdebench(tmp_path / "bench.hdf5", states)
    _write_the_well(tmp_path / "well.hdf5", states)
    for reader, name in (
        (read_pdegym, "gym.nc"),
        (partial(read_pdebench, gamma=1.4), "bench.hdf5"),
        (read_the_well, "well.hdf5"),
    ):
        fields, grid = _join(map(to_conserved, reader(tmp_path / name)))
        assert grid.channels == ("density", "momentum_x", "momentum_y", "energy")
        np.testing.assert_allclose(fields, states, rtol=1e-5, atol=1e-6)
        primitive, _ = _join(map(to_primitive, reader(tmp_path / name)))
        np.testing.assert_allclose(conserved_from_primitive(primitive), states, rtol=1e-5, atol=1e-6)


def test_parquet_round_trip_streams_fixed_shape_tensors(tmp_path, states):
    _write_pdegym(tmp_path / "gym.nc", states)
    path = tmp_path / "gym.parquet"
    assert write_parquet(map(to_conserved, read_pdegym(tmp_path / "gym.nc", block_size=2)), path) == N
    schema = pq.read_schema(path)
    assert schema.field("fields").type == pa.fixed_shape_tensor(pa.float32(), (T, 4, NX, NY))
    assert pq.read_table(path)["id"].to_pylist() == [f"gym.nc:{index}" for index in range(N)]
    assert pq.ParquetFile(path).num_row_groups == 3
    fields, grid = _join(read_parquet(path))
    expected, expected_grid = _join(map(to_conserved, read_pdegym(tmp_path / "gym.nc")))
    np.testing.assert_array_equal(fields, expected)
    assert grid == expected_grid


def test_memory_follows_the_block_and_not_the_file(tmp_path):
    shape = (64, 4, 3, 32, 32)  # 3 MiB in all, 48 KiB a trajectory
    with h5py.File(tmp_path / "big.h5", "w") as file:
        file.create_dataset("data", data=np.ones(shape, np.float32), chunks=(1, *shape[1:]))
    total, block = int(np.prod(shape)) * 4, int(np.prod(shape[1:])) * 4 * 2
    names = ("density", "velocity_x", "velocity_y")
    tracemalloc.start()
    write_parquet(read_pdegym(tmp_path / "big.h5", block_size=2, channels=names), tmp_path / "big.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * block < total / 2


def test_a_failed_write_leaves_nothing_under_the_name(tmp_path, states):
    _write_pdegym(tmp_path / "gym.nc", states)
    blocks = list(read_pdegym(tmp_path / "gym.nc", block_size=2))
    with pytest.raises(ValueError, match="like the first"):
        write_parquet([blocks[0], to_conserved(blocks[1])], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    with pytest.raises(ValueError, match="one trajectory or more"):
        write_parquet([], tmp_path / "out.parquet")


def test_wrong_channel_order_is_seen_by_the_energy(tmp_path, states):
    _write_pdegym(tmp_path / "gym.nc", states)
    order = ("density", "velocity_x", "velocity_y", "energy", "pressure")
    block = to_conserved(next(read_pdegym(tmp_path / "gym.nc", channels=order)))
    assert len(block) == 0 and len(block.rejected) == N
    assert all("contradict each other" in row.error for row in block.rejected)
    with pytest.raises(ValueError, match=r"5 were rejected, first gym.nc:0: energy and pressure contradict"):
        write_parquet([block], tmp_path / "out.parquet")
    unknown = next(read_pdegym(tmp_path / "gym.nc", channels=("density", "a", "b", "c", "d"), gamma=1.4))
    with pytest.raises(ValueError, match="expected two axes and channels"):
        to_conserved(unknown)


def test_a_fifth_channel_that_is_a_tracer_makes_no_energy(tmp_path, states):
    _write_pdegym(tmp_path / "gym.nc", states)
    with netCDF4.Dataset(tmp_path / "gym.nc", "a") as file:
        file["data"][:, :, 4] = 0.5
    block = to_conserved(next(read_pdegym(tmp_path / "gym.nc")))
    assert not len(block) and "not a tracer" in block.rejected[0].error
    named = read_pdegym(tmp_path / "gym.nc", channels=(*PDEGYM_CHANNELS[:4], "tracer"))
    np.testing.assert_allclose(_join(map(to_conserved, named))[0], states, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "finite positive density, got nan"), (-1.0, "got -1.0")])
@pytest.mark.parametrize("block_size", [1, 2, 5])
def test_one_bad_trajectory_is_left_out_and_the_others_are_read(tmp_path, states, value, message, block_size):
    bad = states.copy()
    bad[3, 1, 0, 2, 5] = value
    _write_pdebench(tmp_path / "bad.hdf5", bad)
    blocks = list(read_pdebench(tmp_path / "bad.hdf5", block_size=block_size))
    [rejected] = [row for block in blocks for row in block.rejected]
    assert rejected.id == "bad.hdf5:3" and message in rejected.error and "frame 1, cell (2, 5)" in rejected.error
    good = primitive_from_conserved(states).astype(np.float32)[[0, 1, 2, 4]]
    np.testing.assert_array_equal(np.concatenate([block.fields for block in blocks]), good)
    assert write_parquet(blocks, tmp_path / "bad.parquet") == 4
    assert read_rejected(tmp_path / "bad.parquet") == [rejected]
    [first, *others] = read_parquet(tmp_path / "bad.parquet")
    assert first.rejected == (rejected,) and not any(block.rejected for block in others)


@pytest.mark.parametrize("row", [0, 4])
def test_no_pressure_left_and_energy_of_another_are_found_row_by_row(tmp_path, states, row):
    bad = states.copy()
    bad[row, 2, 3] = 0.0  # below the kinetic energy
    _write_the_well(tmp_path / "well.hdf5", bad)
    with h5py.File(tmp_path / "well.hdf5", "a") as file:
        file["t0_fields/pressure"][...] = primitive_from_conserved(states)[:, :, 3]
    fields = ["density", "momentum", "energy"]
    blocks = [to_conserved(block) for block in read_the_well(tmp_path / "well.hdf5", fields=fields)]
    [rejected] = [found for block in blocks for found in block.rejected]
    assert rejected.id == f"well.hdf5:{row}" and "no pressure is left" in rejected.error
    both = [to_conserved(block) for block in read_the_well(tmp_path / "well.hdf5", fields=[*fields, "pressure"])]
    assert ["contradict" in found.error for block in both for found in block.rejected] == [True]


def test_missing_and_misshapen_files(tmp_path, states):
    with pytest.raises(FileNotFoundError, match="nothing there"):
        next(read_pdegym(tmp_path / "absent.nc"))
    _write_pdegym(tmp_path / "gym.nc", states)
    with pytest.raises(ValueError, match="expected a variable 'solution'"):
        next(read_pdegym(tmp_path / "gym.nc", variable="solution"))
    with pytest.raises(ValueError, match="4 channels"):
        next(read_pdegym(tmp_path / "gym.nc", channels=("density", "velocity_x", "velocity_y", "pressure")))
    with pytest.raises(ValueError, match="block_size"):
        next(read_pdegym(tmp_path / "gym.nc", block_size=0))
    whole = (tmp_path / "gym.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        next(read_pdegym(tmp_path / "cut.nc"))
    _write_pdebench(tmp_path / "bench.hdf5", states)
    with h5py.File(tmp_path / "bench.hdf5", "a") as file:
        del file["Vy"]
    with pytest.raises(ValueError, match="expected a dataset 'Vy'"):
        next(read_pdebench(tmp_path / "bench.hdf5"))
    with h5py.File(tmp_path / "bench.hdf5", "a") as file:
        file["Vy"] = np.zeros((N, T, NX, NY + 1))
    with pytest.raises(ValueError, match="datasets of one shape"):
        next(read_pdebench(tmp_path / "bench.hdf5"))
    _write_the_well(tmp_path / "well.hdf5", states)
    with pytest.raises(ValueError, match=r"expected fields \['vorticity'\]"):
        next(read_the_well(tmp_path / "well.hdf5", fields=["vorticity"]))
    with h5py.File(tmp_path / "well.hdf5", "a") as file:
        file.attrs["n_trajectories"] = N + 1
    with pytest.raises(ValueError, match="after its attributes"):
        next(read_the_well(tmp_path / "well.hdf5"))
    with pytest.raises(ValueError, match="not of The Well's format"):
        next(read_the_well(tmp_path / "gym.nc"))
