"""What the settings of every stage have in common, and how a job finds them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, load_config, peek
from stepward.core.wing import Wing, find_wing


class StageSettings(Config):
    """Settings of one stage. Those named in `NOT_IDENTITY` do not change what is made, only where and how fast."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"store", "name", "overwrite", "pool", "cluster", "tracking"})

    domain: str = Field("walk", description="which domain: the name of an installed wing")
    name: str = Field("default", pattern=r"^[A-Za-z0-9._-]+$", description="name of the artifact to make")
    store: str = Field("artifacts", description="root of all artifacts: a path, or a URL such as s3://bucket/stepward")
    seed: int = Field(0, ge=0, description="root of every random stream")
    overwrite: bool = Field(False, description="delete an artifact of this name first")

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made."""
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in self.NOT_IDENTITY}

    def artifact(self, stage: str, name: str | None = None) -> Artifact:
        """The artifact of a stage in this store and domain; by default the one these settings make."""
        return Artifact(self.store, self.domain, stage, name or self.name)

    @property
    def wing(self) -> Wing:
        return find_wing(self.domain)


def load_job(settings_for: Callable[[Wing], type[StageSettings]], doc: str, argv: Sequence[str] | None = None) -> Any:
    """Settings of a job from its command line, with the fields of the domain that the command line names.

    Args:
        settings_for: wing -> settings class of the stage.
        doc: the job's docstring, shown by ``--help``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        wing = find_wing(peek(arguments, "domain", "walk"))
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    return load_config(settings_for(wing), arguments, doc=doc)
