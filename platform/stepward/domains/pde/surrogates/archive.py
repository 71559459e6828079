"""Opening a file of `torch.export` without running what may hide in it.

`torch.export.load` unpickles freely, turns texts into expressions with `sympify`, which evaluates them, takes any
attribute of torch for an operator, imports what a tree of inputs names, and writes names of inputs as they are into
Python that it runs. So the file is read once, looked through, and loaded from what was looked at: tensors must unpickle
as weights only, expressions may hold nothing but arithmetic of sizes, operators must be torch's own on tensors (`aten`,
`prims`) or arithmetic, every other text must be a plain word, and compiled code is refused. What a network does not
need to run (guards, which are code, and where its source stood) is dropped.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
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
_PLAIN = re.compile(r"[\w.+-]{0,200}", re.ASCII)  # words and versions: no call, no assignment, no quote, no new line
_ARGUMENTS = re.compile(
    "as_(none|tensors?|ints?|floats?|complex|strings?|bools?|sym_(ints?|bools?|floats?)|scalar_type|memory_format|layout|"
    "device|expr|name|optional_tensors?|nested_tensors)"
)
_TREES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})
_UNUSED: dict[str, Any] = {"guards_code": [], "metadata": {}}
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
            entries = {name: archive.read(name) for name in names}
        texts = {name: _needed(json.loads(entries[name])) for name in names if name.endswith(".json")}
    except (zipfile.BadZipFile, ValueError, RecursionError) as error:
        raise ValueError(f"{source}: expected a file of torch.export.save, got something else: {error}.") from None
    found = next(_dangers(entries, texts), None) if len(entries) == len(names) else "two entries of one name"
    if found is not None:
        raise ValueError(
            f"{source}: expected a network of torch's own operators on tensors, got {found}, which could run code. "
            "Export a plain module again, or install it as a package (entry point stepward.surrogates)."
        )
    try:
        return torch.export.load(_archive(entries | {name: json.dumps(text).encode() for name, text in texts.items()}))
    except Exception as error:  # torch's loader raises whatever a broken file makes it raise
        raise ValueError(f"{source}: torch {torch.__version__} cannot load it: {error}. Export it again.") from error


def _archive(entries: dict[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    buffer.seek(0)
    return buffer


def _needed(value: object) -> object:
    """JSON without what a network does not need to run."""
    if isinstance(value, dict):
        return {name: _UNUSED.get(name, _needed(part)) for name, part in value.items()}
    return [_needed(part) for part in value] if isinstance(value, list) else value


def _dangers(entries: dict[str, bytes], texts: Mapping[str, object]) -> Iterator[str]:
    """What could run code: the name of the entry and what it holds."""
    for name, content in entries.items():
        short = name.partition("/")[2] or name
        if name in texts:
            for danger in _dangers_of_json(texts[name]):
                yield f"{danger} in {short}"
        elif not _TENSORS.fullmatch(short):
            yield f"the entry {short}"
        elif name.endswith(".pt") and content and not _only_tensors(content):
            yield f"objects that are no tensors in {short}"


def _only_tensors(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # of many kinds; all mean that it is not plain tensors
        return False
    return True


def _dangers_of_json(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            if key != "range_constraints" and not _is_key(name):
                yield f"the name {name[:80]!r}"
            yield from _dangers_of_json(part, name)
        sizes = value.get("range_constraints", {})
        yield from (f"the symbol {name[:80]!r}" for name in sizes if not _is_arithmetic(name))
    elif isinstance(value, list):
        for part in value:
            yield from _dangers_of_json(part, key)
    elif key == "use_pickle" and value:
        yield "a pickled weight"
    elif isinstance(value, str):
        kind, allowed = _RULES.get(key, ("the text", _is_plain))
        if not allowed(value):
            yield f"{kind} {value[:80]!r}"


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text))


def _is_key(name: str) -> bool:
    return _is_plain(name) and (not name.startswith("as_") or bool(_ARGUMENTS.fullmatch(name)))


def _is_path(text: str) -> bool:
    return bool(re.fullmatch(r"(weight|tensor)_\d+", text))


def _is_tree(text: str) -> bool:
    """Whether inputs or outputs are tuples, lists and dictionaries of plain names."""
    try:
        version, tree = json.loads(text)
        waiting = [tree]
        for node in waiting:
            names = json.loads(node["context"] or "null") or []
            if node["type"] not in _TREES or not all(isinstance(n, str) and _is_plain(n) for n in names):
                return False
            waiting += node["children_spec"]
    except (ValueError, TypeError, KeyError):
        return False
    return version == 1


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


_RULES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "target": ("the operator", _is_operator),
    "expr_str": ("the expression", _is_arithmetic),
    "path_name": ("the object", _is_path),
    "in_spec": ("the tree", _is_tree),
    "out_spec": ("the tree", _is_tree),
}
