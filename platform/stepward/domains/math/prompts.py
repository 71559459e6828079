"""What a language model continues: the question, and what stands before it in every problem.

A prompt becomes one text with ``{question}`` in it, so that everything downstream (encoding, sharing what all prompts
begin with) knows of one form only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from stepward.core.config import Config

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PROMPT", "Prompt", "Reading", "Shot", "build_prompt", "opening_of"]

QUESTION = "{question}"
PROMPT = f"{QUESTION}\n"  # where none is named
BETWEEN = "\n\n"  # shots


class Shot(Config):
    """An example: a question and how it is solved."""

    question: str = Field(description="of the example")
    solution: str = Field(description="lines as the model is to write them, the answer as it is to state it last")


class Reading(NamedTuple):
    """A model, told by its content where that is here, and what it reads before a solution."""

    model: str
    prompt: str
    shots: tuple[Shot, ...]
    chat: bool
    system: str | None


@dataclass(frozen=True)
class Prompt:
    """A prompt ready to be filled in.

    Attributes:
        template: the whole text with ``{question}`` in it.
        special_tokens: whether the tokenizer adds its own (BOS) to it; a chat template has written them already.
    """

    template: str = PROMPT
    special_tokens: bool = True

    def fill(self, question: str) -> str:
        """The text of one problem."""
        return self.template.replace(QUESTION, question)

    def tokens(
        self, tokenizer: PreTrainedTokenizerBase, questions: Iterable[str], texts: Iterable[str]
    ) -> list[list[int]]:
        """Token ids of the prompt of each question with what was written after it."""
        filled = [self.fill(question) + text for question, text in zip(questions, texts, strict=True)]
        distinct = list(dict.fromkeys(filled))
        if not distinct:
            return []
        found: Any = tokenizer(distinct, add_special_tokens=self.special_tokens, verbose=False)["input_ids"]
        ids = dict(zip(distinct, found, strict=True))
        return [ids[text] for text in filled]


def opening_of(template: str) -> str:
    """What stands before the question on its line: a text that says it again asks the next question."""
    return template.partition(QUESTION)[0].rpartition("\n")[2].strip()


def build_prompt(
    template: str,
    *,
    shots: Sequence[Shot] = (),
    system: str | None = None,
    chat: bool = False,
    tokenizer: PreTrainedTokenizerBase | None,
) -> Prompt:
    """Shots, system text and question as one text, by the tokenizer's chat template or one after the other.

    Without a chat template a shot is `template` filled in and the solution, and an empty line ends it. With it
    `template` is the user's turn, solutions are the assistant's, and the model continues its last turn.

    Raises:
        ValueError: a chat is asked for and the tokenizer has no template for it, or its template refuses the turns.
    """
    if not chat:
        told = [template.replace(QUESTION, shot.question) + shot.solution.rstrip("\n") + BETWEEN for shot in shots]
        return Prompt("".join(told) + template)
    assert tokenizer is not None, "a chat is written by a tokenizer's template"
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"chat: expected a tokenizer with a chat template, got one without ({tokenizer.name_or_path!r}). It may be "
            "that of a base model: take the instruction-tuned one, or leave chat out and write the prompt yourself."
        )
    turns = [{"role": "system", "content": system}] if system else []
    for shot in shots:
        turns.append({"role": "user", "content": template.replace(QUESTION, shot.question).strip()})
        turns.append({"role": "assistant", "content": shot.solution.strip()})
    turns.append({"role": "user", "content": template.strip()})
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of the model's makers: it raises what it likes
        raise ValueError(
            f"chat: the chat template of {tokenizer.name_or_path!r} refused the turns "
            f"{[turn['role'] for turn in turns]}: {error}. Some take no system text: leave it out, or put it into "
            "prompt."
        ) from error
    return Prompt(str(text), special_tokens=False)
