"""Stepward: experiments with process reward models, from labels to guided search at matched compute."""

__version__ = "0.1.0"
