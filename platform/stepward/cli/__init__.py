"""The command line: ``stepward label …``, and ``python jobs/label.py …``, which is the same."""

from stepward.cli.main import job, main

__all__ = ["job", "main"]
