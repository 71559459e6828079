"""Partial differential equations: solvers, readers, surrogates, candidate generators and their reward models."""

__all__: list[str] = []
