"""Configuration: frozen models, one YAML file, dotted overrides on the command line.

    python jobs/label.py settings.yaml --pool.num_actors 4 problems.num_train=2000

Later settings win: field defaults, then the YAML file, then overrides in the order given.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator

Plain = dict[str, Any]  # plain values by name, as JSON, YAML and rows of tables hold them: of any type until checked
C = TypeVar("C", bound="Config")
NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"  # of an artifact: no place such as "..", and nothing hidden
HELP = ("-h", "--help", "--help-all")


class Config(BaseModel):
    """Base of every configuration: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset()
    """Settings that do not change what is made, only where and how fast."""

    def deciding(self) -> Plain:
        """The settings that decide what is made, as plain values."""
        plain = self.model_dump(mode="json")
        return {k: _deciding(getattr(self, k), plain[k]) for k in plain if k not in self.NOT_IDENTITY}


def _deciding(value: Any, plain: Any) -> Any:
    """The plain form of a value, of settings in it the part that decides."""
    if isinstance(value, Config):
        return value.deciding()
    if isinstance(value, Mapping):
        return {key: _deciding(*both) for key, *both in zip(plain, value.values(), plain.values(), strict=True)}
    if isinstance(value, list | tuple):
        return [_deciding(inner, other) for inner, other in zip(value, plain, strict=True)]
    return plain


def parse_config(config_class: type[C], argv: Sequence[str]) -> C:
    """`load_config` without help or exit: raises ValueError with a message that names every wrong setting."""
    settings: dict[str, Any] = {}
    written: dict[str, Any] = {}  # the same, all of it as texts
    for key, value, text in _pairs(argv):
        if key is None:
            settings, written = _merge(settings, read_yaml(value)), _merge(written, read_yaml(value, as_texts=True))
        else:
            path = key.split(".")
            settings, written = _merge(settings, _nest(path, value)), _merge(written, _nest(path, text))
    return validate(config_class, _with_default_kinds(config_class, settings), written)


def peek(argv: Sequence[str], key: str, default: str) -> str:
    """The value of one top-level setting before the rest is validated, for example which domain a job is for."""
    found: object = default
    for name, value, text in _pairs([a for a in argv if a not in HELP]):
        if name is None:
            found = read_yaml(value, as_texts=True).get(key, found)
        elif name == key:
            found = text
    return str(found)


def override(config_class: type[C], settings: Mapping[str, object], changes: Mapping[str, object]) -> C:
    """Plain settings changed at dotted names, as a configuration.

    A changed `kind` is applied before the other changes of its block, since another kind starts its block afresh.

    Raises:
        ValueError: names every wrong setting, as `parse_config` does.
    """
    changed = dict(settings)
    for name in sorted(changes, key=lambda name: (name.count("."), name.split(".")[-1] != "kind")):
        changed = _merge(changed, _nest(name.split("."), changes[name]))
    return validate(config_class, _with_default_kinds(config_class, changed))


def validate(config_class: type[C], settings: Mapping[str, object], written: Mapping[str, object] | None = None) -> C:
    """Validate plain settings; errors name the dotted field, what was expected and what came.

    Args:
        written: the settings as they were typed. YAML takes 2024, 2024-05-01, 1e5 and yes for a number, a date and a
            truth value; where a text is expected, what was typed is meant.
    """
    try:
        return config_class.model_validate(settings)
    except ValidationError as error:
        texts = [item["loc"] for item in error.errors() if item["type"] == "string_type"]
        meant: Any = settings
        for location in texts if written else ():
            meant = _as_written(meant, written, location)
        if meant is not settings:
            return validate(config_class, meant)
        lines = [_explain(config_class, item) for item in error.errors()]
        raise ValueError("\n".join(lines)) from None


def one_of(kinds: Mapping[str, type[Config]]) -> Any:
    """Type of a setting that is one of several settings classes, told apart by `kind`; without one, the first."""
    classes = tuple(kinds.values())
    if len(classes) == 1:
        return classes[0]
    return Annotated[Union[classes], Field(discriminator="kind"), else_kind(next(iter(kinds)))]  # noqa: UP007


def else_kind(first: str) -> BeforeValidator:
    """What makes a block that names no kind one of kind `first`; for unions that are written out."""

    def add_kind(value: object) -> object:
        return {"kind": first, **value} if isinstance(value, dict) else value

    return BeforeValidator(add_kind)


def with_defaults(config_class: type[C], values: Mapping[str, object]) -> type[C]:
    """The same settings with other defaults, which also hold for what is left out of a block that is given in part.

    Raises:
        ValueError: a value is not valid, or there is no such setting.
    """
    checked = validate(config_class, dict(values))
    fields: dict[str, Any] = {}
    for name in values:
        field = config_class.model_fields[name]
        fields[name] = (field.rebuild_annotation(), Field(getattr(checked, name), description=field.description))
    return create_model(
        config_class.__name__,
        __base__=config_class,
        __module__=config_class.__module__,
        __doc__=config_class.__doc__,
        __validators__={"as_given": model_validator(mode="before")(_values_of_config)},  # type: ignore[dict-item]
        **fields,
    )


def _values_of_config(settings: object) -> object:
    """Settings of the class that another was made from are taken as they are."""
    return settings.model_dump() if isinstance(settings, Config) else settings


def _as_written(value: object, written: object, location: tuple[str | int, ...]) -> object:
    """`value` with what was typed at a location, whose parts may be kinds beside keys; unchanged if there is none."""
    if not location:
        return written if isinstance(written, str) else value
    first, *rest = location
    if isinstance(value, dict) and isinstance(written, Mapping):
        if first not in value or first not in written:
            return _as_written(value, written, tuple(rest)) if rest else value
        new = _as_written(value[first], written[first], tuple(rest))
        return value if new is value[first] else {**value, first: new}
    if isinstance(value, list) and isinstance(written, list) and isinstance(first, int) and first < len(written):
        new = _as_written(value[first], written[first], tuple(rest))
        return value if new is value[first] else [*value[:first], new, *value[first + 1 :]]
    return value


def read_yaml(path: str | Path, *, as_texts: bool = False) -> Plain:
    """A YAML file that holds a mapping; its values as texts where that is asked for."""
    file = Path(path)
    if file.is_dir():
        raise ValueError(
            f"{path}: expected a YAML file, got a folder. Settings are key=value, such as artifact={path}."
        )
    if not file.is_file():
        raise ValueError(f"{path}: expected a YAML file, but there is none. Check the path; overrides are key=value.")
    try:
        content = _load(file.read_text(encoding="utf-8"), as_texts)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: a date that is none, bytes that are no UTF-8
        raise ValueError(f"{path}: not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of settings, got {type(content).__name__}.")
    return content


def dotted_fields(config_class: type[Config], prefix: str = "") -> list[str]:
    """Every setting's dotted name."""
    names = []
    for name, field in config_class.model_fields.items():
        for inner in inner_configs(field.annotation):
            names += dotted_fields(inner, f"{prefix}{name}.")
        names.append(f"{prefix}{name}")
    return list(dict.fromkeys(names))


def _load(text: str, as_texts: bool = False) -> object:
    return yaml.load(text, yaml.BaseLoader) if as_texts else yaml.safe_load(text)


def _pairs(argv: Sequence[str]) -> list[tuple[str | None, Any, Any]]:
    """Arguments -> (dotted key, value, value as texts); a bare argument is a YAML path and has the key None."""
    pairs: list[tuple[str | None, Any, Any]] = []
    waiting = list(argv)
    while waiting:
        argument = waiting.pop(0)
        body = argument[2:] if argument.startswith("--") else argument
        if "=" in body:
            key, text = body.split("=", 1)
            pairs.append((key, *_values(key, text)))
        elif argument.startswith("--"):
            if not waiting:
                raise ValueError(f"--{body}: expected a value after it. Write --{body} VALUE or {body}=VALUE.")
            pairs.append((body, *_values(body, waiting.pop(0))))
        else:
            pairs.append((None, argument, argument))
    return pairs


def _values(key: str, text: str) -> tuple[object, object]:
    try:
        written = _load(text, as_texts=True)
        value = _load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{key}: {text!r} is not valid YAML: {error}") from None
    except ValueError:  # what looks like a date or a number and is none, such as 2024-13-40
        value = written
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-3 as text; people mean the number
            return float(value), written
        except ValueError:
            return value, written
    return value, written


def _nest(path: list[str], value: object) -> dict[str, object]:
    return {path[0]: value if len(path) == 1 else _nest(path[1:], value)}


def _merge(base: Plain, update: Plain) -> Plain:
    merged = dict(base)
    for key, value in update.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        # another kind of a tagged choice starts afresh: the old kind's settings do not apply to it
        if both and value.get("kind", merged[key].get("kind")) == merged[key].get("kind"):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _with_default_kinds(config_class: type[Config], settings: Mapping[str, object]) -> dict[str, object]:
    """Blocks that choose among kinds and do not say which: the default's kind is meant."""
    filled = dict(settings)
    for name, field in config_class.model_fields.items():
        block, default = filled.get(name), field.get_default(call_default_factory=True)
        if not isinstance(block, dict) or not isinstance(default, Config):
            continue
        if "kind" in type(default).model_fields:
            block = {"kind": default.model_dump()["kind"], **block}
        same = block.get("kind") == getattr(default, "kind", None)
        filled[name] = _with_default_kinds(type(default), block) if same else block
    return filled


def _readable(known: list[str], location: tuple[str | int, ...]) -> str:
    """Dotted name of a setting; the kind that pydantic puts between a block and its fields is left out."""
    name = ""
    for part in location[:-1]:
        longer = f"{name}.{part}" if name else str(part)
        name = longer if longer in known or name not in known else name
    return ".".join(filter(None, [name, *map(str, location[-1:])]))


def _explain(config_class: type[Config], item: Mapping[str, Any]) -> str:
    known = dotted_fields(config_class)
    name = _readable(known, item["loc"])
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known settings: {', '.join(known)}."
        return f"{name}: there is no such setting; {hint}"
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] == NAME:
        hint = "Give its name alone, not its path." if "/" in item["input"] else "Choose another."
        return (
            f"{name}: expected a name of letters, digits, '.', '_' and '-' that begins with a letter, a digit or '_', "
            f"got {item['input']!r}. {hint}"
        )
    if item["type"] == "union_tag_invalid":
        kinds = item["ctx"]["expected_tags"].replace("'", "")
        return f"{name}.kind: expected one of {kinds}, got {item['ctx']['tag']!r}"
    return f"{name or 'settings'}: {item['msg']} (got {item['input']!r})"


def inner_configs(annotation: object) -> list[type[Config]]:
    """Settings classes that a field may hold; several where a `kind` chooses among them."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [config for part in get_args(annotation) for config in inner_configs(part)]
    if get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):
        return inner_configs(get_args(annotation)[0])
    return []
