"""Settings of a whole experiment: one block a stage, and what the blocks share.

Every block is the settings of a job that can be run alone. Here they share a name, a store, a seed and a cluster, and
what one makes is what the next one reads.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, create_model, model_validator

from stepward.core.config import NAME, Config, Plain, with_defaults
from stepward.core.stage import STORE, StageSettings, replace_texts
from stepward.core.wing import Wing, find_wing
from stepward.rewards.guides import TrainedGuide
from stepward.runtime.cluster import ClusterSettings
from stepward.runtime.evaluation import evaluate_job
from stepward.runtime.labelling import LabelJob, label_job
from stepward.runtime.pretraining import PretrainJob, pretrain_job
from stepward.runtime.reporting import report_job
from stepward.runtime.tracking import Tracking
from stepward.runtime.training import TrainJob, train_job
from stepward.runtime.tuning import tune_job
from stepward.tune.places import default_space

SHARED = ("domain", "store", "overwrite", "cluster", "tracking")  # of the experiment: one for all stages


class ExperimentJob(Config):
    """All settings of jobs/experiment.py; `experiment_job` adds the blocks of a domain."""

    SHARED_BY_BLOCKS: ClassVar[tuple[str, ...]] = SHARED

    domain: str = Field("walk", description="which domain: the name of an installed wing")
    name: str = Field("default", pattern=NAME, description="name of the experiment and its artifacts")
    store: str = Field("artifacts", description="root of all artifacts: a path, or a URL such as s3://bucket/stepward")
    seed: int = Field(0, ge=0, description="root of every random stream; a stage may have its own")
    overwrite: bool = Field(False, description="make every artifact of the experiment anew")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(
        Tracking(), description="where finished artifacts are logged; its parent run has the experiment's name"
    )

    leave_out: tuple[str, ...] = Field((), description="blocks that are not run, such as tune")

    @property
    def blocks(self) -> dict[str, StageSettings]:
        """The settings of the stages that run, by name, those of a domain before those that were added."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in self.leave_out}
        return {name: block for name, block in own.items() if isinstance(block, StageSettings)} | self.added

    @property
    def added(self) -> Plain:
        """Blocks that a user added: further trainings."""
        return {**getattr(self, "more_pretrained", {}), **getattr(self, "more_trained", {})}

    @property
    def pretrained(self) -> list[str]:
        """Blocks of what is trained before there are labels."""
        return [name for name, block in self.blocks.items() if isinstance(block, PretrainJob)]

    @property
    def trained(self) -> list[str]:
        """Blocks of reward models."""
        return [name for name, block in self.blocks.items() if isinstance(block, TrainJob)]

    @property
    def wing(self) -> Wing:
        """What the domain brings."""
        return find_wing(self.domain)

    @model_validator(mode="after")
    def _blocks_exist(self) -> ExperimentJob:
        stages = [name for name in type(self).model_fields if isinstance(getattr(self, name), StageSettings)]
        optional = [name for name in stages if name not in ("label", "evaluate", "report", "tune")] + ["tune"]
        for name in self.leave_out:
            if name not in optional:
                raise ValueError(f"leave_out: expected blocks among {optional}, got {name!r}")
        twice = [name for name in self.added if name in type(self).model_fields]
        if twice:
            raise ValueError(f"more_pretrained, more_trained: expected new names, but {twice[0]!r} is a block already")
        return self

    @model_validator(mode="after")
    def _shared_once(self) -> ExperimentJob:
        for stage, block in self.blocks.items():
            twice = [name for name in SHARED if name in block.model_fields_set]
            if twice:
                raise ValueError(
                    f"{stage}.{twice[0]}: expected {twice[0]} once, for the whole experiment: {twice[0]}=…"
                )
        return self


def experiment_job(wing: Wing) -> type[ExperimentJob]:
    """Settings of an experiment on a domain: one block a stage, and one a reward model that is trained."""
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        **{name: _block(job, f"what is trained first: {name}") for name, job in _pretrain_jobs(wing).items()},
        "label": _block(label_job(wing), "labels"),
        **{name: _block(job, f"the reward model {name}") for name, job in _train_jobs(wing).items()},
        **({"tune": _block(tune_job(wing), "a sweep around the first reward model")} if _swept(wing) else {}),
        "evaluate": _block(evaluate_job(wing), "guides against one another"),
        "report": _block(report_job(wing), "the page"),
        **_added(wing),
    }
    return create_model("ExperimentSettings", __base__=ExperimentJob, __module__=__name__, **fields)


def _added(wing: Wing) -> Plain:
    """Further trainings of a user, by name."""
    fields: dict[str, Any] = {}
    if wing.pretraining is not None:
        words = "further trainings before the labels: name -> settings of jobs/pretrain.py"
        fields["more_pretrained"] = (dict[str, pretrain_job(wing)], Field({}, description=words))  # type: ignore[misc]
    if wing.learners:
        words = "further reward models: name -> settings of jobs/train.py"
        fields["more_trained"] = (dict[str, train_job(wing)], Field({}, description=words))  # type: ignore[misc]
    return fields


def _swept(wing: Wing) -> bool:
    """Whether the domain has something to train, and a space to sweep it over."""
    return bool(wing.learners) and default_space(wing) is not None


def settings_of(settings: ExperimentJob, name: str) -> StageSettings:
    """Settings of the stage of a block, with what it shares with the others filled in."""
    block, moves = settings.blocks[name], _moves(settings)
    filled = block.model_copy(update=_filled(settings, name, block))
    return replace_texts(filled, lambda text: moves.get(text, text))


def _filled(settings: ExperimentJob, name: str, block: StageSettings) -> Plain:
    """What a block takes from the experiment: what all share, names of inputs, a seed and name if it has none."""
    tracking = settings.tracking
    if "experiment" not in tracking.model_fields_set:
        tracking = tracking.model_copy(update={"experiment": settings.name})
    shared = {"cluster": settings.cluster, "tracking": tracking}
    update = {key: getattr(settings, key) for key in ("domain", "store", "overwrite")}
    update |= {key: value for key, value in shared.items() if key in type(block).model_fields}
    trained = {key: artifact_name(settings, key) for key in settings.trained}
    inputs: dict[str, Any] = {
        "seed": settings.seed,
        "name": artifact_name(settings, name),
        "label": artifact_name(settings, "label"),
        "labels": artifact_name(settings, "label"),
        "evaluate": artifact_name(settings, "evaluate"),
    }
    label = settings.blocks["label"]
    if "problems" in label.model_fields_set and isinstance(label, LabelJob):
        inputs["problems"] = label.problems
    if "tune" in settings.blocks:
        inputs["tune"] = artifact_name(settings, "tune")
    own = type(block).model_fields.keys() - block.model_fields_set
    update |= {key: value for key, value in inputs.items() if key in own and _names_an_input(block, key)}
    if "guides" in type(block).model_fields:  # a block's name means what it makes here
        update["guides"] = {guide: _renamed(value, trained) for guide, value in block.guides.items()}  # type: ignore[attr-defined]
    return update


def _moves(settings: ExperimentJob) -> dict[str, str]:
    """Artifacts of the experiment "default", as settings of a domain name them -> those of this experiment."""
    moves = {}
    for stage, names in (("train", settings.trained), ("pretrain", settings.pretrained)):
        place = f"{STORE}/{settings.domain}/{stage}"
        for name in names:
            default = _default_name(settings, name)
            moves[f"{place}/{default}"] = f"{place}/{artifact_name(settings, name)}"
    return moves


def artifact_name(settings: ExperimentJob, block: str) -> str:
    """Name of a block's artifact. In the experiment "default" these are the names of the jobs run without arguments."""
    named = settings.blocks[block]
    if "name" in named.model_fields_set:
        return named.name
    default = _default_name(settings, block)
    if settings.name == "default":
        return default
    return settings.name if default == "default" else f"{settings.name}-{block}"


def _default_name(settings: ExperimentJob, block: str) -> str:
    """Name of a block's artifact in the experiment "default"."""
    return block if block in settings.added else str(type(settings.blocks[block]).model_fields["name"].default)


def _names_an_input(block: StageSettings, key: str) -> bool:
    """Whether a field holds the name of an artifact (or is the seed); `labels` of the label stage, say, is a block."""
    return key in ("seed", "problems") or isinstance(getattr(block, key), str | None)


def _renamed(guide: object, trained: dict[str, str]) -> object:
    if isinstance(guide, TrainedGuide) and guide.artifact in trained:
        return guide.model_copy(update={"artifact": trained[guide.artifact]})
    return guide


def _block(job: Any, description: str) -> tuple[Any, Any]:
    """A field of an experiment: the settings of a stage, by default those of its job without arguments."""
    return job, Field(job(), description=description)


def _pretrain_jobs(wing: Wing) -> dict[str, type[StageSettings]]:
    """What the domain trains before it can label, each with the defaults it has in an experiment."""
    if not wing.defaults.pretrained:
        return {}
    base = pretrain_job(wing)
    return {name: with_defaults(base, values) if values else base for name, values in wing.defaults.pretrained.items()}


def _train_jobs(wing: Wing) -> dict[str, type[TrainJob]]:
    """Reward models to train: the domain's first learner as "prm", and what else its defaults name."""
    if not wing.learners:
        return {}
    base = train_job(wing)
    kinds = {"prm": next(iter(wing.learners))}
    kinds |= wing.defaults.trained
    annotation = base.model_fields["learner"]
    jobs = {}
    for name, kind in kinds.items():
        learner = Field(wing.learners[kind](), description=annotation.description)
        fields: dict[str, Any] = {
            "name": (str, Field(name, pattern=NAME, description="name of the artifact to make")),
            "learner": (annotation.rebuild_annotation(), learner),
        }
        if kind in wing.defaults.baselines:
            descent = with_defaults(base.model_fields["optimisation"].annotation, wing.defaults.baselines[kind])  # type: ignore[arg-type]
            fields["optimisation"] = (descent, Field(descent(), description="gradient descent"))
        jobs[name] = create_model(f"Train{name.capitalize()}", __base__=base, __module__=__name__, **fields)
    return jobs
