"""What the settings of every stage have in common, and how a job finds them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.command_line import load_config
from stepward.core.config import NAME, Config, peek
from stepward.core.presets import expanded
from stepward.core.weights import weights_digest
from stepward.core.wing import Wing, find_wing

T = TypeVar("T")
FOLDERS = "folders_sha256"  # part of an identity that is no setting
STORE = "artifacts"  # the store that settings of a domain name artifacts in; see `StageSettings.here`


class StageSettings(Config):
    """Settings of one stage."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"store", "name", "overwrite", "pool", "cluster", "tracking"})

    domain: str = Field("walk", description="which domain: the name of an installed wing")
    name: str = Field("default", pattern=NAME, description="name of the artifact to make")
    store: str = Field(
        "artifacts", min_length=1, description="root of all artifacts: a path, or a URL such as s3://bucket/stepward"
    )
    seed: int = Field(0, ge=0, description="root of every random stream")
    overwrite: bool = Field(False, description="delete an artifact of this name first")

    def identity(self) -> dict[str, object]:
        """The settings that decide what is made.

        Where they name local folders with weights, `FOLDERS` holds digests of these: a path may hold others later.
        """
        plain = self.deciding()
        own = f"{STORE}/{self.domain}/"
        named = {text for text in texts_of(plain) if not text.startswith(own)}  # artifacts are inputs
        digests = {text: digest for text in sorted(named) if (digest := weights_digest(text))}
        return plain | ({FOLDERS: digests} if digests else {})

    def artifact(self, stage: str, name: str | None = None) -> Artifact:
        """The artifact of a stage in this store and domain; by default the one these settings make."""
        return Artifact(self.store, self.domain, stage, name or self.name)

    @property
    def wing(self) -> Wing:
        """What the domain brings."""
        return find_wing(self.domain)

    def here(self, settings: T) -> T:
        """Settings of the domain with the artifacts they name in the store of this stage.

        A text such as ``artifacts/pde/pretrain/default`` anywhere in them means the artifact of that stage and name in
        whatever store the stage has. Identities keep the text, so they do not depend on where a store is.
        """
        return in_store(settings, self.store, self.domain)

    def named_artifacts(self, *settings: object, unfinished: bool = False) -> dict[str, Artifact]:
        """``stage/name`` -> every artifact that settings name: what a stage reads beside its main input.

        Args:
            unfinished: those that are missing or unfinished too.
        """
        found: dict[str, Artifact] = {}
        for text in texts_of(settings):
            parts = text.split("/")
            if len(parts) >= 4 and parts[:2] == [STORE, self.domain]:
                artifact = self.artifact(parts[2], parts[3])
                if unfinished or artifact.finished:
                    found[f"{parts[2]}/{parts[3]}"] = artifact
        return found

    def require_artifacts(self, *settings: Any) -> None:
        """Raise ValueError where settings name an artifact that is not finished; it says how to make it."""
        for artifact in self.named_artifacts(*settings, unfinished=True).values():
            if not artifact.finished:
                raise ValueError(
                    f"{artifact.url}: expected a finished {artifact.stage} artifact, because the settings name it. "
                    f"Make it first: jobs/{artifact.stage}.py domain={artifact.domain} name={artifact.name}"
                )


def require_files(settings: Any) -> None:
    """Ask all settings in `settings` that name files, by ``require_files()`` of their own, whether these are there.

    Raises:
        ValueError: what a setting names does not exist.
    """
    if isinstance(settings, Config):
        if hasattr(settings, "require_files"):
            settings.require_files()
        settings = {name: getattr(settings, name) for name in type(settings).model_fields}
    inside = settings.values() if isinstance(settings, dict) else settings
    for inner in inside if isinstance(settings, dict | list | tuple) else ():
        require_files(inner)


def in_store(settings: T, store: str, domain: str) -> T:
    """Settings of a domain with the artifacts they name, as texts ``artifacts/<domain>/…``, in the store in use."""
    prefix, home = f"{STORE}/{domain}/", f"{store.rstrip('/')}/{domain}/"
    changed: T = replace_texts(
        settings, lambda text: home + text.removeprefix(prefix) if text.startswith(prefix) else text
    )
    return changed


def replace_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Settings, plain values or a mixture with every text in them changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Config):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: replace_texts(inner, change) for name, inner in fields.items()}
        return value.model_copy(update={name: new for name, new in changed.items() if new != fields[name]})
    if isinstance(value, dict):
        return {key: replace_texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replace_texts(inner, change) for inner in value)
    return value


def texts_of(value: object) -> Iterator[str]:
    """Every text in settings, in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Config):
        yield from texts_of({name: getattr(value, name) for name in type(value).model_fields})
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_of(inner)


def load_job(
    settings_for: Callable[[Wing], type[StageSettings]],
    doc: str,
    argv: Sequence[str] | None = None,
    *,
    domain: str = "walk",
    main: Sequence[str] = (),
) -> Any:
    """Settings of a job from its command line, with the fields of the domain that the command line names.

    Args:
        settings_for: wing -> settings class of the stage.
        doc: the job's docstring, shown by ``--help``.
        domain: the domain of a command line that names none.
        main: dotted names of the settings that ``--help`` shows; see `load_config`.
    """
    try:
        arguments = expanded(sys.argv[1:] if argv is None else argv)
        settings_class = settings_for(find_wing(peek(arguments, "domain", domain)))
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    return load_config(settings_class, arguments, doc=doc, main=main)
