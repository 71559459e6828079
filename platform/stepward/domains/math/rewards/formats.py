"""Formats of published process reward models: how each wants a solution written, and where its step scores are read.

All of them are causal, so what comes after a place that is read changes nothing there. Hence one rule for all: the
score of a step is read at the *last token* of the text (or of the tokens) up to and including that step as the format
writes it. A format says how that beginning is written; it is transcribed from the code that its authors publish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from stepward.core.registry import lookup

__all__ = ["FORMATS", "Format", "step_tokens"]

Layout = Literal["text", "chat", "turns", "pieces", "separated"]
Head = Literal["pair", "classes", "value", "validity"]
CONVENTIONS: dict[Head, str] = {
    "pair": "p({right}) of the tokens {right} and {wrong}",
    "classes": "p(class 1) of two classes",
    "value": "sigmoid of one value",
    "validity": "p(class 1) + p(class 2) of three classes",
}


@dataclass(frozen=True)
class Format:
    """How one family of published PRMs reads solutions. ``{question}``, ``{number}`` and ``{step}`` are filled in.

    Attributes:
        models: the published ones.
        source: where the reading is published.
        layout: text: one text. chat: system, question and all steps as the three turns of a chat. turns: each step a
            turn of the user, answered by `right`. pieces: question and steps are cut into tokens one by one.
            separated: as text, with separators between steps that are taken out again.
        head: what gives the score; see `CONVENTIONS`.
        begin: before the first step; of a chat, the turn with the question.
        first, step, between: what stands before the first step, a step up to where it is read, what stands before each
            other step.
        marker: text of the token that ends `step`, which the tokenizer must know; "": none.
        system: system turn of a chat.
        right, wrong: tokens whose logits are compared.
        special_tokens: whether the tokenizer adds its own to the text.
        numbered: how steps begin that are numbered already, which then are not numbered again; "": none are.
        turn: a turn of the model's chat template, to show where no tokenizer is at hand.
        threshold: a step counts as right above it.
    """

    models: str
    source: str
    layout: Layout
    head: Head
    begin: str = "{question}"
    first: str = ""
    step: str = "{step}"
    between: str = ""
    marker: str = ""
    system: str = ""
    right: str = "+"
    wrong: str = "-"
    special_tokens: bool = True
    numbered: str = ""
    turn: str = ""
    threshold: float = 0.5

    @property
    def convention(self) -> str:
        """The score in words."""
        return CONVENTIONS[self.head].format(right=self.right, wrong=self.wrong)

    def written(self, number: int, step: str) -> str:
        """A step as the format writes it, up to where it is read."""
        step = step.strip()
        known = self.numbered and step.lower().startswith(self.numbered)
        return (self.step.replace("Step {number}: ", "") if known else self.step).format(number=number, step=step)

    def text(self, question: str, steps: Sequence[str], tokenizer: PreTrainedTokenizerBase = None) -> str:
        """What the model sees up to the place where the last of `steps` is read.

        Args:
            tokenizer: whose chat template writes the turns; None: `turn` does.

        Raises:
            ValueError: the layout needs a chat template, and the tokenizer has none.
        """
        written = [self.written(number, step) for number, step in enumerate(steps, 1)]
        begin = self.begin.replace("{question}", question)
        if self.layout == "turns":
            said = [f"{begin} {step}".strip() if i == 0 else step for i, step in enumerate(written or [""])]
            turns = [turn for text in said for turn in (("user", text), ("assistant", self.right))][:-1]
            return self._turns(turns, tokenizer)
        if self.layout == "chat":
            return self._turns([("system", self.system), ("user", begin)], tokenizer) + "".join(written)
        joined = self.between.join(written)
        return f"{begin}{self.first}{joined}" if written else begin

    def _turns(self, turns: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase | None) -> str:
        """Turns of a chat, and the beginning of the assistant's next one."""
        if tokenizer is None:
            filled = [self.turn.format(role=role, content=content) for role, content in turns]
            return "".join(filled) + self.turn.partition("{content}")[0].format(role="assistant")
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError(
                f"format: expected a tokenizer with a chat template, got one without ({tokenizer.name_or_path!r}). "
                "Copy tokenizer_config.json and chat_template.jinja of the published model beside its weights."
            )
        messages = [{"role": role, "content": content} for role, content in turns]
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def step_tokens(form: Format, tokenizer: PreTrainedTokenizerBase, question: str, steps: Sequence[str]) -> list[int]:
    """Token ids of a beginning; the last one is read.

    Raises:
        ValueError: the tokenizer does not know the format's marker, or lacks a chat template.
    """
    if form.layout == "pieces":
        return _pieces(form, tokenizer, question, steps)
    if form.layout == "separated":
        return _separated(form, tokenizer, question, steps)
    special = form.special_tokens and form.layout == "text"  # a chat template has written them already
    return list(tokenizer.encode(form.text(question, steps, tokenizer), add_special_tokens=special))


def token_of(tokenizer: PreTrainedTokenizerBase, text: str, what: str) -> int:
    """The one token that a tokenizer makes of a text.

    Raises:
        ValueError: it makes several, or none that it knows.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(
            f"{what}: expected a text that is one token, got {text!r}, of which tokenizer {tokenizer.name_or_path!r} "
            f"makes {tokenizer.convert_ids_to_tokens(ids)}. Take the PRM's own tokenizer, or name its format."
        )
    return int(ids[0])


def _pieces(form: Format, tokenizer: PreTrainedTokenizerBase, question: str, steps: Sequence[str]) -> list[int]:
    """BOS where there is one, the question, and steps each followed by the separator, cut one by one."""
    cut = tokenizer(
        [form.begin.replace("{question}", question), *(step.strip() for step in steps), form.marker],
        add_special_tokens=False,
    )["input_ids"]
    begin, *pieces, separator = cut
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [*bos, *begin, *(token for piece in pieces for token in [*piece, *separator])]


def _separated(form: Format, tokenizer: PreTrainedTokenizerBase, question: str, steps: Sequence[str]) -> list[int]:
    """Steps between separators, which are the padding token and are taken out again.

    Where the tokenizer's own first token is the padding token too, the published reading counts it as a separator, puts
    it back, and so reads the token before the last one of a step.
    """
    pad = tokenizer.pad_token
    if not pad:
        raise ValueError(
            f"format: expected a tokenizer with a padding token, which separates the steps, got one without "
            f"({tokenizer.name_or_path!r}). Copy special_tokens_map.json of the published model beside its weights."
        )
    text = form.begin.replace("{question}", question) + pad + "".join(f"{step.strip()}{pad}" for step in steps)
    ids = tokenizer.encode(text)
    separator = tokenizer.convert_tokens_to_ids(pad)
    first = [separator] if ids[0] == separator else []
    kept = [token for token in ids if token != separator]
    return [*first, *kept][: len(kept)]  # one less than there are, where the first token is put back


_LLAMA_3 = "<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>"
_CHATML = "<|im_start|>{role}\n{content}<|im_end|>\n"
_SHEPHERD: dict[str, Any] = {
    "layout": "text",
    "head": "pair",
    "first": " ",
    "step": "Step {number}: {step} ки",
    "between": "\n",
    "marker": "ки",
    "numbered": "step",
}

FORMATS: dict[str, Format] = {
    "qwen": Format(
        models="Qwen2.5-Math-PRM-7B and -72B, Qwen2.5-Math-7B-PRM800K",
        source="the model card of Qwen/Qwen2.5-Math-PRM-7B",
        layout="chat",
        head="classes",
        step="{step}<extra_0>",
        marker="<extra_0>",
        system="Please reason step by step, and put your final answer within \\boxed{}.",
        turn=_CHATML,
    ),
    "shepherd": Format(
        models="math-shepherd-mistral-7b-prm and models trained on its data in its form",
        source="the model card of peiyi9979/math-shepherd-mistral-7b-prm",
        **_SHEPHERD,
    ),
    "rlhflow": Format(
        models="RLHFlow Llama3.1-8B-PRM-Mistral-Data and -Deepseek-Data",
        source="RLHFlow/RLHF-Reward-Modeling: math-rm/prm_evaluate.py",
        layout="turns",
        head="pair",
        turn=_LLAMA_3,
    ),
    "skywork": Format(
        models="Skywork-o1-Open-PRM-Qwen-2.5-1.5B and -7B",
        source="SkyworkAI/skywork-o1-prm-inference: model_utils",
        layout="pieces",
        head="value",
        begin="{question}\n",
        step="{step}\n",
        marker="\n",
    ),
    "trl": Format(
        models="Token classifiers trained by TRL's PRMTrainer",
        source="huggingface/trl: trl/experimental/prm/prm_trainer.py, tokenize_row",
        layout="pieces",
        head="classes",
        step="{step}\n",
        marker="\n",
    ),
    "openrlhf": Format(
        models="Language models trained by OpenRLHF's train_prm",
        source="OpenRLHF/OpenRLHF: openrlhf/datasets/process_reward_dataset.py and PRMLoss",
        **_SHEPHERD,
        special_tokens=False,
    ),
    "reasoneval": Format(
        models="ReasonEval-7B and -34B",
        source="GAIR-NLP/ReasonEval: codes/examples.py",
        layout="separated",
        head="validity",
        begin="Question:\n{question}\nAnswer:\nLet's think step by step.\n",
    ),
}


def format_named(name: str) -> Format:
    """The format called `name`, or an error that says which there are."""
    return lookup(FORMATS, name, kind="format")
