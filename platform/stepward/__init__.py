"""Stepward: experiments with process reward models, from labels to guided search at matched compute.

    import stepward as sw

    labels = sw.label("math", problems={"path": "mine.jsonl"}, proposer={"model": "my-model"})
    prm = sw.train(labels)
    sw.evaluate(labels, prm=prm)

The functions are those of `stepward.api`, imported when they are first used, so ``import stepward`` is quick. Where one
is named as a package is, `stepward.label` is that package, and called it is the function.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["evaluate", "experiment", "label", "load", "pretrain", "report", "search", "train"]

if TYPE_CHECKING:
    from stepward.api import evaluate, experiment, label, load, pretrain, report, search, train


class _Stage(ModuleType):
    """A package that can be called as the function of its name."""

    def __call__(self, *arguments: object, **options: object) -> object:
        from stepward import api

        return getattr(api, self.__name__.rpartition(".")[2])(*arguments, **options)


class _Package(ModuleType):
    """The whole: it is told of each of its modules when that is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in __all__ and isinstance(value, ModuleType):
            value.__class__ = _Stage
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'stepward' has no attribute {name!r}; its functions are {', '.join(__all__)}")
        from stepward import api  # which imports the packages of these names

        return super().__getattribute__(name) if name in self.__dict__ else getattr(api, name)


sys.modules[__name__].__class__ = _Package
