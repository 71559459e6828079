"""What a domain trains before it can label: a language model or a surrogate, whichever its wing names.

Each kind is a module of its own, imported where asked for, with `pretrain_settings(wing)` and `run_pretrain(settings)`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stepward.core.registry import lookup
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing

KINDS = {
    "language_model": "stepward.runtime.pretraining",
    "surrogate": "stepward.runtime.surrogate_pretraining",
}


def pretrain_job(wing: Wing) -> type[StageSettings]:
    """Settings of the pretrain job for a domain.

    Raises:
        ValueError: the domain has nothing to pretrain.
    """
    settings: type[StageSettings] = _kind(wing).pretrain_settings(wing)
    return settings


def run_pretrain(settings: Any) -> Any:
    """Make or finish what the domain of the settings pretrains; see the module of its kind."""
    return _kind(settings.wing).run_pretrain(settings)


def _kind(wing: Wing) -> Any:
    if wing.pretraining is None:
        raise ValueError(f"Domain {wing.name!r} has nothing that is pretrained: start with jobs/label.py.")
    return import_module(lookup(KINDS, wing.pretraining, kind="pretraining"))
