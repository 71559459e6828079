"""The proposers of an evaluation: arms propose with the policy that the labels are about, unless they say otherwise.

A reward model learned how one policy goes on, so this policy is what a search is tried with: the labels' manifest has
its settings, be it an embedded model or a folder that a user named. Another kind has its own defaults, and
`EvaluateSettings.proposers` changes either. An arm may also give the whole settings of a proposer of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from stepward.core.config import Config, Plain, validate
from stepward.core.interfaces import Proposer
from stepward.core.registry import lookup
from stepward.core.stage import in_store
from stepward.core.wing import Wing


class RivalProposer(Config):
    """A trivial rival that proposes one answer, fitted by the evaluation."""

    kind: Literal["rival"] = "rival"
    rival: str = Field(description="name of the rival")


class Proposers:
    """Proposers by kind or settings, each built when it is first asked for, and once.

    Args:
        wing: the domain.
        policy: settings of the labels' policy, with its kind.
        changes: kind -> settings that differ.
        default: of an evaluation whose arms name none: a kind, or settings; None: the labels' policy.
        store: where artifacts are that settings name.
        rivals: name of a rival -> its proposer; None: there are none.
    """

    def __init__(
        self,
        wing: Wing,
        policy: Plain,
        changes: Mapping[str, Plain] | None = None,
        *,
        default: str | Config | None = None,
        store: str = "artifacts",
        rivals: Callable[[str], Proposer] | None = None,
    ) -> None:
        self.wing, self._policy, self._changes = wing, dict(policy), dict(changes or {})
        self._default, self._store, self._rivals = default, store, rivals
        self._built: dict[str, Proposer] = {}

    def __call__(self, proposer: str | Config | None = None) -> Proposer:
        """The proposer of a kind, or of settings; None: the evaluation's."""
        return self._get(self.settings(proposer))

    def settings(self, proposer: str | Config | None = None) -> Config:
        """Settings of a proposer as an arm names it."""
        named = self._default if proposer is None else proposer
        if isinstance(named, Config):
            return named
        return settings_of(named or self._policy["kind"], self.wing, self._policy, self._changes)

    @property
    def policy(self) -> Proposer:
        """The policy itself, whatever was changed: what a continuation means."""
        return self._get(settings_of(self._policy["kind"], self.wing, self._policy, {}))

    def _get(self, settings: Any) -> Proposer:
        name = settings.model_dump_json()
        if isinstance(settings, RivalProposer) and self._rivals is not None:
            self._built.setdefault(name, self._rivals(settings.rival))
        if name not in self._built:
            self._built[name] = in_store(settings, self._store, self.wing.name).build()
        return self._built[name]


def settings_of(kind: str, wing: Wing, policy: Plain, changes: Mapping[str, Plain]) -> Config:
    """Settings of a kind of proposer: of the policy where it is that, with its changes.

    Raises:
        ValueError: the domain has no such kind, or a setting is wrong.
    """
    known = lookup(wing.proposers, kind, kind="proposer")
    base = policy if policy.get("kind") == kind else {"kind": kind}
    return validate(known, {**base, **changes.get(kind, {})})
