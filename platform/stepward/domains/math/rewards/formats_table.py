"""What every published PRM sees of one worked example, where its step scores are read, and what they are.

python -m stepward.domains.math.rewards.formats_table                       all formats, as texts
python -m stepward.domains.math.rewards.formats_table FOLDER_OR_ID [FORMAT]   one model, with its tokenizer's tokens
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from stepward.domains.math.rewards.formats import FORMATS, Format, format_named, step_tokens

__all__ = ["EXAMPLE", "formats_table", "positions"]

EXAMPLE = ("Ann has 3 pens and buys 4. How many?", ("She has 3 and buys 4.", "3 + 4 = 7", "The answer is 7."))


def formats_table() -> str:
    """All formats as Markdown: the text with ⟨k⟩ after what is read for step k, the convention, the threshold."""
    return "\n".join(line for name, form in FORMATS.items() for line in _section(name, form))


def positions(
    form: Format, tokenizer: PreTrainedTokenizerBase, example: tuple[str, Sequence[str]] = EXAMPLE
) -> tuple[list[str], list[int]]:
    """Tokens of the example up to where its last step is read, and the positions that are read, one a step.

    Raises:
        ValueError: a beginning is cut into other tokens than the same text within the whole, or see `step_tokens`.
    """
    question, steps = EXAMPLE
    cut = [step_tokens(form, tokenizer, question, steps[: k + 1]) for k in range(len(steps))]
    whole = cut[-1]
    if any(whole[: len(ids)] != ids for ids in cut):
        raise ValueError(f"{tokenizer.name_or_path!r} joins tokens across steps: beginnings are read on their own")
    return tokenizer.convert_ids_to_tokens(whole), [len(ids) - 1 for ids in cut]


def _section(name: str, form: Format) -> Iterator[str]:
    yield from (f"### {name}", "", f"{form.models}. Source: {form.source}.", "")
    yield f"Step score: {form.convention}; right above {form.threshold:g}. Layout: {form.layout}."
    yield from ("", "```text", *_marked(form).splitlines(), "```", "")


def _marked(form: Format) -> str:
    """The text of the example with ⟨k⟩ where step k is read; pieces and separators are shown as they are joined."""
    question, steps = EXAMPLE
    marked, before = "", ""
    for k in range(len(steps)):
        text = form.text(question, steps[: k + 1])
        common = len(before) if text.startswith(before) else 0
        marked += f"{text[common:]}⟨{k + 1}⟩"
        before = text
    return marked


def main(arguments: Sequence[str]) -> None:
    """Print the table, or the tokens of one model."""
    if not arguments:
        print(formats_table())
        return
    from stepward.domains.math.rewards.published_model import form_of

    name, form, tokenizer = form_of(arguments[0], arguments[1] if len(arguments) > 1 else "auto", format_named)
    tokens, read = positions(form, tokenizer)
    print(f"{name}: {form.convention}; right above {form.threshold:g}; read at {read}")
    print(" ".join(f"{token}⟨{read.index(i) + 1}⟩" if i in read else token for i, token in enumerate(tokens)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
