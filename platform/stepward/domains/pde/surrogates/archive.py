"""Opening a file of `torch.export` without running what may hide in it.

`torch.export.load` unpickles freely, turns texts into expressions with `sympify`, which evaluates them, and takes any
attribute of torch for an operator. So the file is read once, looked through, and loaded from the very bytes that were
looked at: tensors must unpickle as weights only, expressions may hold nothing but arithmetic of sizes, operators must
be torch's own on tensors (`aten`, `prims`) or arithmetic, and compiled code is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram

__all__ = ["open_program"]

_SCALARS = re.compile(
    r"torch\.sym_(int|float|not|max|min|ite|sum|sqrt)|math\.(ceil|floor|trunc|sqrt)|"
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|getitem|eq|ne|lt|le|gt|ge|and_|or_)"
)
_TENSOR_OPERATOR = re.compile(r"torch\.ops\.(aten|prims)\.(\w+)\.(\w+)", re.ASCII)
_TOUCH_FILES = ("from_file",)
_WORDS = re.compile(
    "Symbol|Integer|Rational|Float|Add|Mul|Pow|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|ModularIndexing|Max|Min|Where|"
    "CeilToInt|FloorToInt|TruncToInt|IntTrueDiv|Eq|Ne|Lt|Le|Gt|Ge|StrictLessThan|StrictGreaterThan|LessThan|"
    r"GreaterThan|Equality|Unequality|And|Or|Not|positive|nonnegative|integer|True|False|[suz]\d+"
)
_TENSORS = re.compile(
    r"data/(weights/weight|constants/tensor)_\d+|byteorder|archive_format|archive_version|version|\.data/\w+|.*\.pt"
)


def open_program(content: bytes, source: str) -> ExportedProgram:
    """The program in the bytes of a ``.pt2`` file.

    Raises:
        ValueError: not a file of `torch.export.save`, or one with something in it that could run code.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            entries = {name.partition("/")[2] or name: archive.read(name) for name in names}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{source}: expected a file of torch.export.save, got something else: {error}.") from None
    found = next(_dangers(entries), None) if len(entries) == len(names) else "two entries of one name"
    if found is not None:
        raise ValueError(
            f"{source}: expected a network of torch's own operators on tensors, got {found}, which could run code. "
            "Export a plain module again, or install it as a package (entry point stepward.surrogates)."
        )
    try:
        return torch.export.load(io.BytesIO(content))
    except Exception as error:  # torch's loader raises whatever a broken file makes it raise
        raise ValueError(f"{source}: torch {torch.__version__} cannot load it: {error}. Export it again.") from error


def _dangers(entries: dict[str, bytes]) -> Iterator[str]:
    """What could run code: the name of the entry and what it holds."""
    for name, content in entries.items():
        if name.endswith(".json"):
            for danger in _dangers_of_json(json.loads(content)):
                yield f"{danger} in {name}"
        elif not _TENSORS.fullmatch(name):
            yield f"the entry {name}"
        elif name.endswith(".pt") and content and not _only_tensors(content):
            yield f"objects that are no tensors in {name}"


def _only_tensors(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # of many kinds; all mean that it is not plain tensors
        return False
    return True


def _dangers_of_json(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _dangers_of_json(part, name)
        sizes = value.get("range_constraints", {})
        yield from (f"the symbol {name[:80]!r}" for name in sizes if not _is_arithmetic(name))
    elif isinstance(value, list):
        for part in value:
            yield from _dangers_of_json(part, key)
    elif key == "target" and not _is_operator(str(value)):
        yield f"the operator {value!r}"
    elif key == "expr_str" and not _is_arithmetic(str(value)):
        yield f"the expression {str(value)[:80]!r}"
    elif key == "use_pickle" and value:
        yield "a pickled weight"
    elif key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(value)):
        yield f"the object {value!r}"


def _is_operator(name: str) -> bool:
    """Whether torch's loader finds an operator on tensors, or arithmetic of sizes, under this name."""
    found = _TENSOR_OPERATOR.fullmatch(name)
    if found is None:
        return bool(_SCALARS.fullmatch(name))
    space, operator, overload = found.groups()
    packet = getattr(getattr(torch.ops, space), operator, None) if operator not in _TOUCH_FILES else None
    return isinstance(getattr(packet, overload, None), torch._ops.OpOverload)


def _is_arithmetic(text: str) -> bool:
    """Whether an expression holds nothing but sizes, numbers and the functions that sizes are made with."""
    rest = re.sub(r"'[suz]\d+'|\d+\.\d+", "0", text)
    plain = re.fullmatch(r"[\w\s+\-*/(),=<>]*", rest, re.ASCII)
    return bool(plain) and all(_WORDS.fullmatch(word) for word in re.findall(r"[A-Za-z_]\w*", rest))
