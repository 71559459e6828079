"""Reward models of the number walk."""
