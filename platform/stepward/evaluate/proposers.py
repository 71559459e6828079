"""The proposers of an evaluation: searches and samples propose with the policy that the labels are about.

A reward model learned how one policy goes on, so this policy is what a search is tried with: the labels' manifest has
its settings, be it an embedded model or a folder that a user named. Another kind has its own defaults, and
`EvaluateSettings.proposers` changes either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepward.core.config import Config, validate
from stepward.core.interfaces import Proposer
from stepward.core.registry import lookup
from stepward.core.wing import Wing


class Proposers:
    """Proposers by kind, each built when it is first asked for, and once.

    Args:
        wing: the domain.
        policy: settings of the labels' policy, with its kind.
        changes: kind -> settings that differ.
    """

    def __init__(
        self, wing: Wing, policy: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.wing, self._policy, self._changes = wing, dict(policy), dict(changes or {})
        self._built: dict[str, Proposer] = {}

    def __call__(self, kind: str | None = None) -> Proposer:
        """The proposer of a kind; None: of the policy's kind."""
        kind = kind or self._policy["kind"]
        return self._get(kind, settings_of(kind, self.wing, self._policy, self._changes))

    @property
    def policy(self) -> Proposer:
        """The policy itself, whatever was changed: what a continuation means."""
        kind = self._policy["kind"]
        return self._get(f"{kind}, as labelled", settings_of(kind, self.wing, self._policy, {}))

    def _get(self, name: str, settings: Any) -> Proposer:
        if name not in self._built:
            self._built[name] = settings.build()
        return self._built[name]


def settings_of(kind: str, wing: Wing, policy: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> Config:
    """Settings of a kind of proposer: of the policy where it is that, with its changes.

    Raises:
        ValueError: the domain has no such kind, or a setting is wrong.
    """
    known = lookup(wing.proposers, kind, kind="proposer")
    base = policy if policy.get("kind") == kind else {"kind": kind}
    return validate(known, {**base, **changes.get(kind, {})})
