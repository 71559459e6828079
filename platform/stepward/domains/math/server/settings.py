"""Settings of a proposer that is a model behind a server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stepward.domains.math.reading_settings import WriterSettings
from stepward.domains.math.server.client import Client, ServerConfig
from stepward.domains.math.server.proposer import ServerProposer
from stepward.domains.math.steps import LINES

__all__ = ["ServerSettings"]


class ServerSettings(ServerConfig, WriterSettings):
    """A language model behind an OpenAI-compatible server with a completions endpoint."""

    kind: Literal["server"] = "server"
    tokenizer: str | None = Field(
        None, description="folder or hub id whose chat template writes the prompt, with chat=true"
    )
    seeds: bool = Field(True, description="send a seed with every request, of the row's own random stream")
    log_probs: bool = Field(
        False, description="ask for log p of the tokens; without it likelihoods are unknown, and a guide by them fails"
    )
    line_break: Literal["kept", "dropped"] = Field(
        "kept",
        description="what the server does with the line break that ended a line, where it does not say what ended it: "
        "transformers keeps it, llama.cpp drops it",
    )
    num_parameters: int = Field(0, ge=0, description="weights of a forward pass, for FLOPs; 0: these are not charged")

    @model_validator(mode="after")
    def _agrees(self) -> ServerSettings:
        if self.chat != (self.tokenizer is not None):
            raise ValueError("chat and tokenizer: expected both or neither; the tokenizer's template writes the chat")
        if self.steps.by != "line":
            raise ValueError(f"steps.by: a server is asked for lines, got {self.steps.by!r}; take by=line")
        if self.steps != LINES:
            raise ValueError("steps: expected lines of a server, which stops at a text; other steps take a model here")
        return self

    def build(self) -> ServerProposer:
        """A proposer that asks the server; nothing is asked yet."""
        if not self.model:
            raise ValueError("model: expected the name of a model, as the server knows it, got none")
        tokenizer = None
        if self.tokenizer is not None:
            from stepward.domains.math.models import load_tokenizer

            tokenizer = load_tokenizer(self.tokenizer)
        return ServerProposer(
            Client(self),
            temperatures=self.temperatures,
            top_p=self.top_p,
            limits=self.limits,
            prompt=self.full_prompt(tokenizer),
            seeds=self.seeds,
            log_probs=self.log_probs,
            line_break=self.line_break,
            num_parameters=self.num_parameters,
        )
