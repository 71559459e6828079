"""What training learns from, by the kind of a domain's labels: the parts of the train and tune stages that differ.

Each kind is a module of its own, imported where asked for:

    check(settings, labels)                        raises ValueError for labels that cannot be learned from
    steps(settings, device, start=…, rank=…)       checkpoints, epoch by epoch, on a worker of Ray Train
    finish(settings, trained, started)             the train artifact
    trial(settings, device, start)                 (standing, checkpoint), epoch by epoch, of a trial of a sweep
    readable(labels, wing)                         raises ValueError for labels that a sweep cannot read
    LOSS                                           what the validation loss is a number of
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stepward.core.registry import lookup
from stepward.core.wing import Wing

KINDS = {
    "continuations": "stepward.runtime.count_learning",
    "rankings": "stepward.runtime.rank_learning",
}


def learning_of(wing: Wing) -> Any:
    """The module for a domain's kind of label."""
    return import_module(lookup(KINDS, wing.labels, kind="kind of label"))
