"""Layouts of published data sets beyond the compressible ones, as their projects' own loaders open them."""

import h5py
import netCDF4
import numpy as np
import pytest
import xarray

from stepward.domains.pde.readers import (
    is_gas,
    read_generic,
    read_pdebench,
    read_pdegym,
    read_the_well,
    to_conserved,
)
from stepward.domains.pde.solver import primitive_from_conserved

N, T, NX, NY = 4, 5, 8, 6
RNG = np.random.default_rng(0)


def _numbers(*shape):
    return RNG.uniform(1, 2, shape).astype(np.float32)


def _join(blocks):
    blocks = list(blocks)
    rejected = [row for block in blocks for row in block.rejected]
    return np.concatenate([block.fields for block in blocks]), blocks[0].grid, rejected


# ── PDEBench ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _write_incompressible(path, steps=(0.1,) * N):
    """ns_incom_inhom_2d_512-*.h5."""
    arrays = {"velocity": _numbers(N, T, NX, NY, 2), "particles": _numbers(N, T, NX, NY, 1)}
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        file["force"] = _numbers(N, NX, NY, 2)
        file["t"] = np.asarray(steps)[:, None] * np.arange(T)
    return np.moveaxis(np.concatenate(list(arrays.values()), axis=-1), -1, 2)


def test_pdebench_incompressible(tmp_path):
    expected = _write_incompressible(tmp_path / "ns_incom_inhom_2d_512-0.h5")
    fields, grid, rejected = _join(read_pdebench(tmp_path / "ns_incom_inhom_2d_512-0.h5", block_size=3))
    np.testing.assert_array_equal(fields, expected)
    assert (grid.channels, grid.boundary) == (("velocity_x", "velocity_y", "particles"), ("wall", "wall"))
    assert (grid.spacing, grid.dt, rejected) == ((1 / NX, 1 / NY), pytest.approx(0.1), [])
    assert not is_gas(grid)


def _write_by_seed(path, axes, channels, step=lambda seed: 0.05):
    """2D_diff-react_NA_NA.h5, 2D_rdb_NA_NA.h5, 1D_diff-sorp_NA_NA.h5."""
    space = (NX, NY)[:axes]
    data = _numbers(N, T, *space, channels)
    with h5py.File(path, "w") as file:
        for seed in range(N):
            group = file.create_group(f"{seed:04d}")
            group["data"] = data[seed]
            for axis, size in zip("xy", space, strict=False):
                group[f"grid/{axis}"] = np.linspace(-1, 1, size + 1)[:-1] + 1 / size
            group["grid/t"] = step(seed) * np.arange(T)
            group.attrs["config"] = "sim: {}"
    return np.moveaxis(data, -1, 2)


@pytest.mark.parametrize(
    ("name", "axes", "channels", "boundary"),
    [
        ("2D_diff-react_NA_NA.h5", 2, ("activator", "inhibitor"), "wall"),
        ("2D_rdb_NA_NA.h5", 2, ("height",), "outflow"),
        ("1D_diff-sorp_NA_NA.h5", 1, ("concentration",), "unknown"),
    ],
)
def test_pdebench_a_group_a_seed(tmp_path, name, axes, channels, boundary):
    expected = _write_by_seed(tmp_path / name, axes, len(channels))
    fields, grid, _ = _join(read_pdebench(tmp_path / name, block_size=3))
    np.testing.assert_array_equal(fields, expected)
    assert (grid.channels, grid.boundary) == (channels, (boundary,) * axes)
    assert (grid.spacing, grid.dt) == (pytest.approx((2 / NX, 2 / NY)[:axes]), pytest.approx(0.05))


def test_pdebench_sets_that_have_no_steps_or_three_axes_are_refused_by_name(tmp_path):
    with h5py.File(tmp_path / "2D_DarcyFlow_beta1.0_Train.hdf5", "w") as file:
        file["nu"], file["tensor"] = _numbers(N, NX, NY), _numbers(N, 1, NX, NY)
    with pytest.raises(ValueError, match=r"PDEBench 2D_DarcyFlow_beta1.0_Train.hdf5: Darcy flow is not supported"):
        next(read_pdebench(tmp_path / "2D_DarcyFlow_beta1.0_Train.hdf5"))
    with h5py.File(tmp_path / "3D_CFD.hdf5", "w") as file:
        file["density"] = _numbers(2, T, 4, 4, 4)
    with pytest.raises(ValueError, match=r"three axes \(4, 4, 4\) are not supported"):
        next(read_pdebench(tmp_path / "3D_CFD.hdf5"))


# ── time steps that differ ────────────────────────────────────────────────────────────────────────────────────────────
def test_trajectories_of_another_time_step_are_left_out_or_read_alone(tmp_path):
    path = tmp_path / "ns.h5"
    expected = _write_incompressible(path, steps=(0.1, 0.2, 0.1, 0.1))
    fields, grid, [rejected] = _join(read_pdebench(path, block_size=2))
    np.testing.assert_array_equal(fields, expected[[0, 2, 3]])
    assert grid.dt == pytest.approx(0.1) and rejected.id == "ns.h5:1"
    assert rejected.error.startswith("expected a time step of 0.1, got 0.2") and "source.dt=0.2" in rejected.error
    fields, grid, rejected = _join(read_pdebench(path, block_size=2, dt=0.2))
    np.testing.assert_array_equal(fields, expected[[1]])
    assert grid.dt == 0.2 and len(rejected) == 3
    with pytest.raises(ValueError, match=r"expected a time step of 0.3; got 0.1, 0.2"):
        next(read_pdebench(path, dt=0.3))


def test_a_time_step_has_no_effect_where_all_trajectories_share_it(tmp_path):
    with h5py.File(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", "w") as file:
        file["tensor"], file["x-coordinate"], file["t-coordinate"] = _numbers(N, T, 8), np.arange(8.0), np.arange(5.0)
    for setting in ({"dt": 0.1}, {"gamma": 1.4}):
        with pytest.raises(ValueError, match=f"{next(iter(setting))}: has no effect"):
            next(read_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", **setting))


# ── The Well ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _write_the_well(path, *, gamma=5 / 3, steps=None, axes=("x", "y"), kind="OPEN"):
    """Density, velocity and pressure: no energy."""
    space = (NX, NY, 4)[: len(axes)]
    primitive = _numbers(N, T, 2 + len(axes), *space)
    steps = np.full(N, 0.1) if steps is None else np.asarray(steps)
    with h5py.File(path, "w") as file:
        file.attrs.update({"dataset_name": "gas", "grid_type": "cartesian", "n_trajectories": N})
        file.attrs["n_spatial_dims"] = len(axes)
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = list(axes)
        varies = len(set(steps.tolist())) > 1
        dimensions["time"] = steps[:, None] * np.arange(T) if varies else steps[0] * np.arange(T)
        dimensions["time"].attrs["sample_varying"] = varies
        for axis, size in zip(axes, space, strict=True):
            dimensions[axis] = np.arange(size) / size
            group = file.create_group(f"boundary_conditions/{axis}")
            group.attrs.update({"associated_dims": [axis], "bc_type": kind})
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = ["gamma"]
        scalars["gamma"] = np.asarray(gamma, np.float32)
        for order, fields in enumerate(({"density": primitive[:, :, 0], "pressure": primitive[:, :, -1]},
                                        {"velocity": np.moveaxis(primitive[:, :, 1:-1], 2, -1)}, {})):  # fmt: skip
            group = file.create_group(f"t{order}_fields")
            group.attrs["field_names"] = list(fields)
            for name, values in fields.items():
                group[name] = values
                group[name].attrs.update(
                    {"sample_varying": True, "time_varying": True, "dim_varying": [True] * len(axes)}
                )
    return primitive


def test_energy_is_made_with_the_gamma_of_the_file(tmp_path):
    primitive = _write_the_well(tmp_path / "gas.hdf5")
    conserved, grid, _ = _join(map(to_conserved, read_the_well(tmp_path / "gas.hdf5")))
    assert grid.parameters["gamma"] == pytest.approx(5 / 3) and grid.boundary == ("open", "open")
    np.testing.assert_allclose(primitive_from_conserved(conserved, gamma=5 / 3), primitive, rtol=1e-5)
    kinetic = 0.5 * primitive[:, :, 0] * (primitive[:, :, 1:3] ** 2).sum(axis=2)
    np.testing.assert_allclose(conserved[:, :, 3] - kinetic, 1.5 * primitive[:, :, 3], rtol=1e-4)
    given, grid, _ = _join(map(to_conserved, read_the_well(tmp_path / "gas.hdf5", gamma=2.0, boundary=("periodic",))))
    np.testing.assert_allclose(given[:, :, 3] - kinetic, primitive[:, :, 3], rtol=1e-4)
    assert grid.boundary == ("periodic", "periodic")


def test_a_gamma_that_nobody_knows_or_that_differs_is_asked_for(tmp_path):
    _write_the_well(tmp_path / "gas.hdf5", gamma=[1.2, 1.4, 1.2, 1.2])
    with pytest.raises(ValueError, match=r"expected one gamma for all trajectories; got .*source.gamma"):
        next(read_the_well(tmp_path / "gas.hdf5"))
    assert next(read_the_well(tmp_path / "gas.hdf5", gamma=1.3)).grid.parameters["gamma"] == 1.3
    with h5py.File(tmp_path / "gas.hdf5", "a") as file:
        del file["scalars"]
    with pytest.raises(ValueError, match=r"ratio of specific heats gamma among the constants of gas\.hdf5"):
        to_conserved(next(read_the_well(tmp_path / "gas.hdf5")))


def test_time_steps_of_the_well_that_differ_from_sample_to_sample(tmp_path):
    _write_the_well(tmp_path / "gas.hdf5", steps=[0.2, 0.1, 0.1, 0.1])
    fields, grid, [rejected] = _join(read_the_well(tmp_path / "gas.hdf5"))
    assert (len(fields), grid.dt, rejected.id) == (3, pytest.approx(0.1), "gas.hdf5:0")


def test_three_axes_and_other_grids_of_the_well_are_refused_by_name(tmp_path):
    _write_the_well(tmp_path / "gas.hdf5", axes=("x", "y", "z"))
    with pytest.raises(ValueError, match=r"The Well gas: a cartesian grid with axes \('x', 'y', 'z'\) is not"):
        next(read_the_well(tmp_path / "gas.hdf5"))
    _write_the_well(tmp_path / "gas.hdf5")
    with h5py.File(tmp_path / "gas.hdf5", "a") as file:
        file.attrs["grid_type"] = "spherical"
    with pytest.raises(ValueError, match="spherical grid"):
        next(read_the_well(tmp_path / "gas.hdf5"))


# ── PDEGym ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _write_netcdf(path, arrays, version="NETCDF4"):
    sizes = {}
    with netCDF4.Dataset(path, "w", format=version) as file:
        for name, values in arrays.items():
            dims = []
            for place, size in enumerate(values.shape):
                dim = f"{name}_{place}"
                file.createDimension(dim, size)
                dims.append(dim)
            sizes[name] = dims
            file.createVariable(name, "f4", tuple(dims))[:] = values


@pytest.mark.parametrize("version", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET"])
@pytest.mark.parametrize(
    ("variable", "channels"),
    [
        ("velocity", ("velocity_x", "velocity_y")),  # NS-Sines.nc
        ("velocity", ("velocity_x", "velocity_y", "tracer")),  # NS-PwC.nc
        ("solution", ("velocity_x", "velocity_y")),  # FNS-KF.nc
        ("solution", ("density", "velocity_x", "velocity_y", "pressure")),  # CE-RM.nc
    ],
)
def test_pdegym_flows_under_their_other_names(tmp_path, variable, channels, version):
    data = _numbers(N, T, len(channels), NX, NY)
    _write_netcdf(tmp_path / "set.nc", {variable: data}, version)
    fields, grid, _ = _join(read_pdegym(tmp_path / "set.nc", block_size=3))
    np.testing.assert_array_equal(fields, data)
    assert (grid.channels, grid.boundary) == (channels, ("periodic", "periodic"))
    assert grid.parameters == ({"gamma": 1.4} if "density" in channels else {})
    assert is_gas(grid) == ("density" in channels)


def test_pdegym_one_field_and_waves_with_their_speed(tmp_path):
    u, speed = _numbers(N, T, NX, NY), _numbers(N, NX, NY)
    _write_netcdf(tmp_path / "ACE.nc", {"solution": u})
    fields, grid, _ = _join(read_pdegym(tmp_path / "ACE.nc"))
    np.testing.assert_array_equal(fields[:, :, 0], u)
    assert (grid.channels, grid.boundary) == (("u",), ("periodic",) * 2)
    _write_netcdf(tmp_path / "Wave-Gauss.nc", {"solution": u, "c": speed})
    fields, grid, _ = _join(read_pdegym(tmp_path / "Wave-Gauss.nc", block_size=3))
    np.testing.assert_array_equal(fields, np.stack([u, np.broadcast_to(speed[:, None], u.shape)], axis=2))
    assert (grid.channels, grid.boundary) == (("u", "speed"), ("open",) * 2)


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("Poisson-Gauss.nc", {"source": (N, NX, NY), "solution": (N, NX, NY)}, "stationary problem"),
        ("SE-AF.nc", {"solution": (N, 2, NX, NY)}, "stationary problem"),
        ("Helmholtz.nc", {"other": (N, NX, NY)}, "Stationary problems"),
        ("GCE-RT.nc", {"solution": (N, T, 6, NX, NY)}, "4 or 5 of a gas, got shape .4, 5, 6, 8, 6.. Pass channels="),
    ],
)
def test_pdegym_sets_that_cannot_be_used_are_named(tmp_path, name, arrays, message):
    _write_netcdf(tmp_path / name, {key: _numbers(*shape) for key, shape in arrays.items()})
    with pytest.raises(ValueError, match=message) as caught:
        next(read_pdegym(tmp_path / name))
    assert name in str(caught.value)


def test_a_gas_with_a_field_that_moves_it_is_no_gas_alone(tmp_path):
    _write_netcdf(tmp_path / "GCE-RT.nc", {"solution": _numbers(N, T, 6, NX, NY)})
    names = ("density", "velocity_x", "velocity_y", "pressure", "tracer", "gravity")
    grid = next(read_pdegym(tmp_path / "GCE-RT.nc", channels=names)).grid
    assert not is_gas(grid) and grid.boundary == ("unknown", "unknown")


# ── a user's own ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _gas():
    rho, flow, pressure = _numbers(N, NX, NY, T), _numbers(N, NX, NY, T, 2), _numbers(N, NX, NY, T)
    channels = np.stack([rho, flow[..., 0], flow[..., 1], pressure])
    return rho, flow, pressure, np.moveaxis(channels, (0, 4), (2, 1))


def test_a_users_hdf5_by_names_of_variables_and_roles_of_axes(tmp_path):
    rho, flow, pressure, expected = _gas()
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["run/rho"], file["run/flow"], file["run/p"] = rho, flow, pressure
        file["run/seconds"], file["x"], file["along"] = 0.5 * np.arange(T), np.arange(NX) / 4, np.arange(NY) / 3
        file.attrs["kappa"] = 5 / 3
    settings = {
        "variables": ["run/rho", "run/flow", "run/p"],
        "axes": ["sample", "x", "y", "time", "channel"],
        "channels": ["density", "velocity_x", "velocity_y", "pressure"],
        "boundary": ("wall", "periodic"),
        "coordinates": {"time": "run/seconds", "y": "along"},
        "parameters": {"gamma": "kappa", "nu": 0.1},
    }
    fields, grid, _ = _join(read_generic(tmp_path / "mine.h5", block_size=3, **settings))
    np.testing.assert_array_equal(fields, expected)
    assert (grid.axes, grid.boundary, grid.dt) == (("x", "y"), ("wall", "periodic"), pytest.approx(0.5))
    assert grid.spacing == pytest.approx((1 / 4, 1 / 3))
    assert grid.parameters == {"gamma": pytest.approx(5 / 3), "nu": 0.1} and is_gas(grid)
    wrong = [
        ({"variables": ["run/rho", "run/flux"]}, "expected a variable 'run/flux'"),
        ({"channels": ["density"]}, "expected 1 channels"),
        ({"axes": ["sample", "x", "time"]}, "Name its axes in the order of the file"),
        ({"axes": ["sample", "x", "z", "time", "channel"]}, "to be one of"),
        ({"parameters": {"gamma": "lambda"}}, "expected 'lambda' to be an attribute or a variable of one number"),
        ({"coordinates": {"time": "clock", "y": "along"}}, "expected a coordinate 'clock' .* or source.dt"),
        ({"coordinates": {"time": "x", "y": "along"}}, "expected 5 values in coordinate 'x'"),
        ({"boundary": ("wall",) * 3}, "one word, or one for each of 2 axes"),
    ]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            next(read_generic(tmp_path / "mine.h5", **(settings | change)))


def test_a_users_zarr_folder_and_netcdf_3(tmp_path):
    u = _numbers(N, T, NX, NY)
    data = xarray.Dataset({"u": (("run", "t", "x", "y"), u)}, coords={"t": 0.1 * np.arange(T)})
    data.to_zarr(tmp_path / "mine.zarr", zarr_format=2, consolidated=False)
    data.to_netcdf(tmp_path / "mine.nc", format="NETCDF3_64BIT")
    settings = {"variables": ["u"], "axes": ["sample", "time", "x", "y"], "channels": ["u"], "extent": (1.0, 3.0)}
    for name in ("mine.zarr", "mine.nc"):
        blocks = read_generic(tmp_path / name, coordinates={"time": "t"}, boundary=("periodic",), **settings)
        fields, grid, _ = _join(blocks)
        np.testing.assert_array_equal(fields[:, :, 0], u)
        assert (grid.dt, grid.spacing) == (pytest.approx(0.1), (1 / NX, 3 / NY))


def test_a_missing_value_of_a_netcdf_file_makes_its_trajectory_a_dead_letter(tmp_path):
    with netCDF4.Dataset(tmp_path / "mine.nc", "w") as file:
        for name, size in zip(("t", "x", "y"), (T, NX, NY), strict=True):
            file.createDimension(name, size)
        variable = file.createVariable("u", "f4", ("t", "x", "y"), fill_value=-999.0)
        variable[:] = 1.0
        variable[2, 3, 4] = -999.0
    settings = {"axes": ["time", "x", "y"], "channels": ["u"], "dt": 0.1, "extent": (1.0, 1.0)}
    [block] = read_generic(tmp_path / "mine.nc", variables=["u"], boundary=("periodic",), **settings)
    assert not len(block) and "got nan in frame 2, cell (3, 4)" in block.rejected[0].error
