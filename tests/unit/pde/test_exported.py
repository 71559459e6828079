"""A network from a file of torch.export: the same numbers, further training, and nothing run that hides in it."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pde_world import roots, training_trajectories
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.pde.generators import DeterministicGenerator
from stepward.domains.pde.surrogates import (
    ExportedSettings,
    SurrogateFit,
    build_surrogate,
    fit_surrogate,
    load_surrogate,
    save_surrogate,
)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.drop = torch.nn.Dropout(0.5)
        self.register_buffer("size", torch.tensor(0.1))

    def forward(self, fields):
        half = torch.nn.functional.avg_pool2d(fields, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        return fields + self.size * self.drop(self.conv(half[..., : fields.shape[-2], : fields.shape[-1]]))


def _export(path, *, dynamic=(0, 2, 3), network=None):
    network = Net() if network is None else network
    names = {0: "n", 2: "h", 3: "w"}
    dims = {axis: torch.export.Dim(names[axis], min=1 if axis == 0 else 2, max=512) for axis in dynamic}
    halves = {axis: 2 * torch.export.Dim(f"half_{names[axis]}", min=2, max=256) for axis in dynamic if axis}
    program = torch.export.export(network.eval(), (torch.rand(2, 4, 16, 16),), dynamic_shapes=({**dims, **halves},))
    torch.export.save(program, path)
    return network


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    return str(path), _export(path)


def test_it_gives_the_numbers_of_the_network_on_any_grid(model):
    path, network = model
    surrogate = load_surrogate(path, "cpu")
    for shape in ((1, 4, 16, 16), (5, 4, 16, 16), (3, 4, 32, 20)):
        fields = torch.rand(shape)
        assert torch.equal(surrogate(fields), network(fields))
    assert surrogate.num_channels == 4 and surrogate.num_parameters == 4 * 4 * 9 + 4 and surrogate.periodic
    generator = DeterministicGenerator(surrogate)
    children = generator.propose(roots(), num_candidates=2, rng=Rng.from_seed(0, 4, "x"))
    assert np.allclose(children.fields[::2], network(torch.from_numpy(roots().fields.copy())).detach(), atol=1e-6)
    assert generator.charged_tokens(roots())[0] * 2 * surrogate.num_parameters == 2 * 4 * 4 * 9 * 256


def test_it_is_trained_further_kept_with_its_program_and_found_again(model, tmp_path):
    path, _ = model
    settings = ExportedSettings(path=path, periodic=False)
    surrogate = build_surrogate(settings)
    before = surrogate(torch.from_numpy(roots().fields)).detach()
    losses = fit_surrogate(surrogate, training_trajectories(), SurrogateFit(epochs=3, batch_size=8))
    assert losses[-1] < losses[0] and not torch.equal(surrogate(torch.from_numpy(roots().fields)), before)
    save_surrogate(Folder(str(tmp_path)), surrogate, settings)
    again = load_surrogate(str(tmp_path), "cpu")
    assert torch.equal(again(torch.from_numpy(roots().fields)), surrogate(torch.from_numpy(roots().fields)))
    assert not again.periodic and (tmp_path / "program.pt2").read_bytes() == Path(path).read_bytes()


@pytest.mark.parametrize(
    ("fields", "message"),
    [((2, 5, 16, 16), "expected fields of 4 channels, got 5"), ((2, 4, 32, 16), "exported for a grid")],
)
def test_other_channels_and_another_grid_are_a_sentence(tmp_path, fields, message):
    _export(tmp_path / "fixed.pt2", dynamic=(0,))
    with pytest.raises(ValueError, match=message):
        load_surrogate(str(tmp_path / "fixed.pt2"), "cpu")(torch.rand(fields))


def test_files_that_cannot_be_surrogates_say_so(tmp_path):
    _export(tmp_path / "one.pt2", dynamic=())
    with pytest.raises(ValueError, match="with a fixed C and any n"):
        load_surrogate(str(tmp_path / "one.pt2"), "cpu")
    with pytest.raises(ValueError, match=r"there is no .*none\.pt2"):
        load_surrogate(str(tmp_path / "none.pt2"), "cpu")
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(ValueError, match=r"expected a file of torch\.export\.save"):
        load_surrogate(str(tmp_path / "text.pt2"), "cpu")


class _Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def _changed(path, target, change):
    """A copy of a file with every entry passed through `change(name, content)`."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return str(target)


def _text(old, new):
    return lambda name, content: content.replace(old.encode(), new.encode()) if name.endswith("model.json") else content


@pytest.mark.parametrize(
    "kind",
    [
        "sample",
        "operator",
        "expression",
        "weight",
        "symbol",
        "file",
        "attribute",
        "letters",
        "input",
        "argument",
        "callable",
        "tree",
        "word",
        "key",
    ],
)
def test_what_hides_in_a_file_is_refused_and_not_run(model, tmp_path, kind):
    mark = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save(_Runs(mark), buffer)
    call = f"__import__('pathlib').Path('{mark}').touch()"

    def weight(name, content):
        if not name.endswith("weights_config.json"):
            return buffer.getvalue() if "/weights/weight_" in name else content
        config = json.loads(content)
        for entry in config["config"].values():
            entry["use_pickle"] = True
        return json.dumps(config).encode()

    changes = {
        "sample": (lambda name, content: buffer.getvalue() if name.endswith(".pt") else content, "no tensors"),
        "operator": (_text("torch.ops.aten.conv2d.default", "torch.hub.load"), "the operator 'torch.hub.load'"),
        "expression": (_text("Integer(2)", call), "the expression"),
        "weight": (weight, "a pickled weight"),
        "symbol": (lambda name, content: _symbols(name, content, call), "the symbol"),
        "file": (_text("torch.ops.aten.conv2d.default", "torch.ops.aten.from_file.default"), "the operator"),
        "attribute": (_text("torch.ops.aten.conv2d.default", "torch.ops.aten.conv2d.__class__"), "the operator"),
        "input": (_renamed("fields", f"fields={call}"), "the text"),  # runs where the graph becomes a function
        "argument": (_renamed("kernel_size", f"x={call}, y"), "the text"),
        "callable": (_text('"as_ints"', '"as_operator"'), "the name 'as_operator'"),
        "tree": (_text("builtins.tuple", "collections.defaultdict"), "the tree"),
        "word": (_text('"as_string": "circular"', f'"as_string": "{call}"'), "the text"),
        "key": (_renamed("conv2d", f"conv2d={call}"), "the"),
        "letters": (_text("Integer(2)", "\uff45\uff56\uff41\uff4c(2)"), "the expression"),
    }
    change, message = changes[kind]
    target = _changed(model[0], tmp_path / "bad.pt2", change)
    with pytest.raises(ValueError, match=message):
        load_surrogate(target, "cpu")
    assert not mark.exists()


def test_two_entries_of_one_name_are_refused(model, tmp_path):
    """Who looks at the one may load the other."""
    target = _changed(model[0], tmp_path / "twice.pt2", lambda name, content: content)
    with zipfile.ZipFile(target, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(next(name for name in archive.namelist() if name.endswith(".pt")), b"")
    with pytest.raises(ValueError, match="two entries of one name"):
        load_surrogate(target, "cpu")


def _renamed(old, new):
    """Changes every text and every key of a program that equals `old`."""

    def walk(value):
        if isinstance(value, dict):
            return {new if name == old else name: walk(part) for name, part in value.items()}
        if isinstance(value, list):
            return [walk(part) for part in value]
        return new if value == old else value

    return lambda name, content: (
        json.dumps(walk(json.loads(content))).encode() if name.endswith("model.json") else content
    )


def test_guards_and_places_of_the_source_are_dropped(model, tmp_path):
    """Guards are code that torch compiles; the numbers need neither."""
    mark = tmp_path / "ran"

    def change(name, content):
        if not name.endswith("model.json"):
            return content
        program = json.loads(content)
        program["guards_code"] = [f"__import__('pathlib').Path('{mark}').touch()"]
        for node in program["graph_module"]["graph"]["nodes"]:
            node["metadata"] = {"stack_trace": f"x\n__import__('pathlib').Path('{mark}').touch()\n"}
        return json.dumps(program).encode()

    surrogate, fields = (
        load_surrogate(_changed(model[0], tmp_path / "odd.pt2", change), "cpu"),
        torch.rand(2, 4, 16, 16),
    )
    assert torch.equal(surrogate(fields), model[1](fields)) and not mark.exists()


def _symbols(name, content, call):
    if not name.endswith("model.json"):
        return content
    program = json.loads(content)
    program["range_constraints"] = {call: {"min_val": 2, "max_val": 9}}
    return json.dumps(program).encode()


def test_a_rewritten_file_without_danger_is_loaded(model, tmp_path):
    """So the refusals above are of what was changed, and not of the change of the archive."""
    same = _changed(model[0], tmp_path / "same.pt2", lambda name, content: content)
    fields = torch.rand(2, 4, 16, 16)
    assert torch.equal(load_surrogate(same, "cpu")(fields), model[1](fields))
