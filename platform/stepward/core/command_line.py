"""A job's command line: settings or a readable error, and what ``--help`` shows: names, meanings, types, defaults."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from stepward.core.config import HELP, C, Config, dotted_fields, inner_configs, parse_config

LEFT = 46  # columns of a setting's name


def load_config(
    config_class: type[C], argv: Sequence[str] | None = None, *, doc: str = "", main: Sequence[str] = ()
) -> C:
    """Read a configuration from the command line; print help or a readable error and exit where that is due.

    Args:
        config_class: the model to fill.
        argv: arguments after the program's name: at most one YAML path, and ``--a.b value``, ``--a.b=value`` or
            ``a.b=value`` overrides, whose values are read as YAML. Default: `sys.argv[1:]`.
        doc: the job's own words, shown by ``--help``.
        main: dotted names of the settings that ``--help`` shows, as far as they exist; ``--help-all`` shows all. None
            named: both show all.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if asked := [argument for argument in arguments if argument in HELP]:
        print(describe(config_class, doc, () if "--help-all" in asked else main))
        raise SystemExit(0)
    try:
        return parse_config(config_class, arguments)
    except ValueError as error:
        _fail(str(error))


def describe(config_class: type[Config], doc: str = "", main: Sequence[str] = ()) -> str:
    """Help text: the job's own words, then its settings, each with type, default and description.

    Args:
        main: dotted names of those to show, as far as they exist; none: all. Of a choice among kinds, ``….kind`` shows
            which there are; what a kind has of its own is shown with all settings.
    """
    lines = list(_lines(config_class, ""))
    if main:
        known = {name: (left, text) for name, left, text in lines if name}
        shown = [known[name] for name in main if name in known]
        rest = f"{len(dotted_fields(config_class))} settings in all: --help-all"
    else:
        shown, rest = [(left, text) for _, left, text in lines], ""
    head = "Main settings" if main else "Settings"
    body = [f"  {left:<{LEFT}} {text}".rstrip() for left, text in shown]
    return "\n".join(
        [doc.strip(), "", f"{head} (in a YAML file, or as name=value or --name value):", "", *body, "", rest]
    ).rstrip()


def _lines(config_class: type[Config], prefix: str) -> Iterator[tuple[str, str, str]]:
    """(dotted name, as it is typed, text) of every setting; the first is "" on lines that only set others apart."""
    apart = getattr(config_class, "SHARED_BY_BLOCKS", ())
    for name, field in config_class.model_fields.items():
        inner, dotted = inner_configs(field.annotation), f"{prefix}{name}"
        yield dotted, f"--{dotted}", _field_text(field, bool(inner))
        if len(inner) > 1 and all("kind" in kind.model_fields for kind in inner):
            yield from _kinds(inner, field, dotted)
            continue
        for kind in inner:
            yield from (line for line in _lines(kind, f"{dotted}.") if f"{line[0]}.".split(".")[1] not in apart)


def _kinds(inner: Sequence[type[Config]], field: FieldInfo, dotted: str) -> Iterator[tuple[str, str, str]]:
    """One line for the choice, then the settings of each kind under its name."""
    names = [str(kind.model_fields["kind"].default) for kind in inner]
    default = getattr(field.get_default(call_default_factory=True), "kind", None)
    yield f"{dotted}.kind", f"--{dotted}.kind", f"[{'|'.join(names)}; default {default or 'none'}]"
    for name, kind in zip(names, inner, strict=True):
        own = [line for line in _lines(kind, f"{dotted}.") if line[0] != f"{dotted}.kind"]
        if own:
            yield "", f"  {dotted}.kind={name}", _first_sentence(kind)
            yield from ((n, f"  {left}", text) for n, left, text in own)


def _first_sentence(kind: type[Config]) -> str:
    words = (kind.__doc__ or "").strip().splitlines()
    return words[0] if words else ""


def _field_text(field: FieldInfo, nested: bool) -> str:
    text = field.description or ""
    if nested:
        return text
    default = "required" if field.is_required() else f"default {_show(field.get_default(call_default_factory=True))}"
    return f"{text} [{_type_name(field.annotation)}; {default}]".strip()


def _show(value: object) -> str:
    """A default as it would be written on the command line; of named blocks the names."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_show, value))}]"
    if isinstance(value, Mapping):
        blocks = any(isinstance(inner, Config | Mapping) for inner in value.values())
        return f"{{{', '.join(map(str, value) if blocks else (f'{k}: {_show(v)}' for k, v in value.items()))}}}"
    return str(value)


def _type_name(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _type_name(parts[0])
    if origin is Literal:
        return "|".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return "|".join(_type_name(part) for part in parts)
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if part is ... else _type_name(part) for part in parts)}]"
    if isinstance(annotation, type) and issubclass(annotation, Config):
        kind = annotation.model_fields.get("kind")
        return str(kind.default) if kind and kind.default else "settings"
    return {type(None): "none", Any: "any"}.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _fail(message: str) -> NoReturn:
    print(f"Settings not accepted:\n{message}\nSee --help-all for every setting.", file=sys.stderr)
    raise SystemExit(2)
