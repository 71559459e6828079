"""Settings of the label stage, without those that say where and how fast it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, create_model, model_validator

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, one_of
from stepward.core.registry import plugins
from stepward.core.stage import StageSettings, require_files
from stepward.core.weights import data_digest
from stepward.core.wing import Mining, ProblemSource, Wing
from stepward.label.counts import ContinuationLabels

SPLITS = ("train", "validation", "test")


class LabelSettings(StageSettings):
    """What is labelled and how. `label_settings` narrows the fields to a domain's own classes."""

    problems: Any
    mining: Any
    proposer: Any
    labels: Any = Field(ContinuationLabels(), description="what a label holds")
    num_labelled_test: int | None = Field(
        None, ge=1, description="test problems that are labelled, the first ones; others are for evaluations; none: all"
    )

    def labelled(self, problems: pa.Table, split: str) -> pa.Table:
        """The problems of a split whose partial solutions are labelled."""
        found = problems.filter(pc.equal(problems["split"], split))
        return found.slice(0, self.num_labelled_test) if split == "test" else found

    @property
    def source(self) -> ProblemSource:
        """Where problems come from: the kind of label, if it brings its own, or `problems`."""
        source: ProblemSource = self.labels if isinstance(self.labels, ProblemSource) else self.problems
        return source

    @property
    def miner(self) -> Mining:
        """What says which partial solutions are labelled: the kind of label, if it brings its own, or `mining`."""
        miner: Any = self.labels if isinstance(self.labels, Mining) else self.mining
        followed: Mining = miner.follow(self.proposer) if hasattr(miner, "follow") else miner
        return followed

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> LabelSettings:
        unused = {"problems": self.source is not self.problems, "mining": isinstance(self.labels, Mining)}
        for name in (name for name, is_unused in unused.items() if is_unused):
            default = type(self).model_fields[name].get_default()
            if default is not None and getattr(self, name) != default:
                raise ValueError(
                    f"labels.kind={self.labels.kind} brings its own {name}, so {name}.… would have no effect; leave it "
                    "out, or choose another kind of label"
                )
        return self

    def identity(self) -> dict[str, object]:
        """The settings, and what the user's problems hold: the same file or folder may hold others later."""
        path = getattr(self.source, "path", None)
        digest = None if path is None else data_digest(self.here(path))
        return super().identity() | ({} if digest is None else {"problems_sha256": digest})

    def inputs(self) -> dict[str, Artifact]:
        """Artifacts that the labels are made from, such as a pretrained surrogate, by role."""
        return self.named_artifacts(self.problems, self.mining, self.proposer)

    def check_inputs(self) -> None:
        """Raise ValueError where a model or a file that is named does not exist, before any worker starts."""
        self.require_artifacts(self.problems, self.mining, self.proposer)
        require_files([self.here(part) for part in (self.miner, self.proposer)])

    @property
    def default_proposer(self) -> bool:
        """Whether rollouts follow the domain's own default policy, which is the one a wing's exact values are about."""
        return bool(self.proposer == type(self).model_fields["proposer"].get_default())


def label_kinds(wing: Wing) -> Mapping[str, type[Config]]:
    """Kind -> settings class, a `LabelKind`: those of the wing (continuations if it names none) and of plug-ins."""
    return {**(wing.labels or {"continuations": ContinuationLabels}), **plugins(f"labels.{wing.name}")}


def comes_with_data(kind: type[Config]) -> bool:
    """Whether labels of a kind bring their own problems and rows, so that no policy is asked."""
    return issubclass(kind, ProblemSource) and issubclass(kind, Mining)


def label_settings(wing: Wing, base: type[LabelSettings] = LabelSettings) -> type[LabelSettings]:
    """`base` with the problems, the mining and the proposers of a domain as typed fields."""
    first, kinds = next(iter(wing.proposers.values())), label_kinds(wing)
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "problems": (wing.problems, Field(wing.problems(), description="where problems come from")),
        "mining": (wing.mining, Field(wing.mining(), description="which partial solutions are labelled")),
        "proposer": (one_of(wing.proposers), Field(first(), description="the policy that the labels are about")),
        "labels": (one_of(kinds), Field(next(iter(kinds.values()))(), description="what a label holds")),
    }
    return create_model("LabelSettings", __base__=base, __module__=__name__, **fields)
