"""Published process reward models as untrained guides: one interface, whatever their format, head and tokenizer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.core.wing import Scale
from stepward.domains.math.rewards.formats import FORMATS, Format, format_named

if TYPE_CHECKING:
    from stepward.domains.math.rewards.text_scoring import TextReward

__all__ = ["PublishedPRM"]


class PublishedPRM(Config):
    """A published PRM: the probability that the last line is right, read as its authors read it.

    Body and head are read from its safetensors by name; code that comes with a model is never run. Its tokenizer is its
    own, whatever the policy's. Steps are lines.
    """

    kind: Literal["published"] = "published"
    SCALE: ClassVar[Scale] = "probability"

    path: str | None = Field(None, description="folder or hub id of the model, with its tokenizer")
    format: str = Field(
        "auto", description=f"of its texts and scores: {', '.join(FORMATS)}; auto: found by its weights"
    )
    marker: str | None = Field(
        None, min_length=1, description="token that ends a step, where it is not the format's (openrlhf: placeholder)"
    )
    right: str | None = Field(None, min_length=1, description="token that calls a step right, where not the format's")
    wrong: str | None = Field(None, min_length=1, description="token that calls a step wrong, where not the format's")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the body; auto: bfloat16 on GPUs and where it measures faster"
    )

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name != "auto":
            format_named(name)
        return name

    def form(self, name: str) -> Format:
        """The format called `name`, with what these settings change of it.

        Raises:
            ValueError: the format has no such token.
        """
        form = format_named(name)
        changes = {key: given for key in ("marker", "right", "wrong") if (given := getattr(self, key)) is not None}
        useless = [key for key in changes if (not form.marker if key == "marker" else form.head != "pair")]
        if useless:
            raise ValueError(f"format={name!r}: {', '.join(useless)} would have no effect; leave it out")
        if "marker" in changes:
            changes["step"] = form.step.replace(form.marker, changes["marker"])
        return replace(form, **changes)

    def build(self, domain: Domain) -> TextReward:
        """Load the model, on a GPU where there is one.

        Raises:
            ValueError: there is no such model, its format cannot be told, or weights or tokenizer do not fit it.
        """
        from stepward.domains.math.rewards.published_model import load_published

        if self.path is None:
            raise ValueError("path: expected the folder or hub id of a published PRM with kind=published, got none.")
        return load_published(self.path, self.format, self.form, self.dtype)
