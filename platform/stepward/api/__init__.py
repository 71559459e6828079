"""The platform in a notebook: every stage as a function that needs no Ray, gives an object, and shows itself.

Stages leave the artifacts that the jobs leave, with the same fingerprints: what was labelled here can be trained by
``jobs/train.py``, and the other way round. Work that takes long belongs to the jobs, which use every core and GPU.
"""

from stepward.api.experiments import experiment, pretrain
from stepward.api.scoring import PRM, load
from stepward.api.searching import Found, search
from stepward.api.stages import Evaluation, Labels, Report, evaluate, label, report, train

__all__ = [
    "PRM",
    "Evaluation",
    "Found",
    "Labels",
    "Report",
    "evaluate",
    "experiment",
    "label",
    "load",
    "pretrain",
    "report",
    "search",
    "train",
]
