"""Reward models of the math domain; settings only, so that importing them costs no torch."""
