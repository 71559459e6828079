"""Scores of steps over HTTP, from any reward model: one of jobs/train.py, or a published one."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stepward.core.config import Config
from stepward.core.interfaces import RewardModel
from stepward.core.wing import Wing
from stepward.rewards.written import read_reward, score_steps

logger = logging.getLogger("stepward.serve")

__all__ = ["ServeJob", "run_serve", "scoring_app", "serve_job"]


class ServeJob(Config):
    """All settings of jobs/serve.py."""

    domain: str = Field("math", description="which domain: the name of an installed wing")
    path: str = Field(description="folder of a train artifact, or of a published reward model, or its hub id")
    kind: str = Field("published", description="kind of reward model, where path is no train artifact")
    options: dict[str, Any] = Field({}, description="settings of that kind, such as {format: qwen}")
    host: str = Field("127.0.0.1", description="address that is listened on; anything else lets others in, unasked")
    port: int = Field(8400, ge=0, le=65535, description="port that is listened on")
    max_solutions: int = Field(256, ge=1, description="solutions of one request")


class Solution(BaseModel):
    """A question and the steps of its solution so far."""

    model_config = ConfigDict(extra="forbid", strict=True)
    question: str
    steps: list[str] = Field(min_length=1)


class Batch(BaseModel):
    """Several of them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    solutions: list[Solution] = Field(min_length=1)


@dataclass(frozen=True)
class Served:
    """The server has ended."""

    address: str

    def __str__(self) -> str:
        return f"Served {self.address} until it was stopped"


def serve_job(wing: Wing) -> type[ServeJob]:
    """Settings of the serve job; a domain adds none."""
    return ServeJob


def run_serve(settings: ServeJob) -> Served:
    """Serve until the process is ended.

    Raises:
        ValueError: there is no such reward model, or FastAPI and uvicorn are not installed.
    """
    reward, wing = read_reward(settings.path, settings.domain, settings.kind, settings.options)
    app = scoring_app(reward, wing, settings.max_solutions)
    import uvicorn

    address = f"http://{settings.host}:{settings.port}"
    logger.info("Scores at %s/score and %s/score/batch; described at %s/docs; Ctrl-C ends it", *[address] * 3)
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning")
    return Served(address)


def scoring_app(reward: RewardModel, wing: Wing, max_solutions: int = 256) -> Any:
    """A FastAPI application with ``GET /health``, ``POST /score`` and ``POST /score/batch``.

    ``/score`` takes ``{"question": …, "steps": […]}`` and gives ``{"scores": […]}``, one a step, higher is better;
    ``/score/batch`` takes ``{"solutions": […]}`` of such objects and gives a list of scores for each. What cannot be
    scored is refused with status 422 and ``{"error": sentence}``.
    """
    try:
        from fastapi import FastAPI, Request
        from fastapi.exceptions import RequestValidationError
        from fastapi.responses import JSONResponse
    except ImportError as error:
        raise ValueError(f"serving needs FastAPI and uvicorn ({error}): pip install 'stepward[serve]'") from None
    app, turn = FastAPI(title="Scores of steps"), threading.Lock()

    def scores(solutions: list[Solution]) -> list[list[float]]:
        with turn:  # one forward pass at a time
            found = score_steps(reward, wing, [s.question for s in solutions], [s.steps for s in solutions])
        for number, of_steps in enumerate(found):
            if not np.isfinite(of_steps).all():
                raise ValueError(f"solution {number}: the reward model gave a score that is no finite number")
        return [of_steps.tolist() for of_steps in found]

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"domain": wing.name, "kind": type(reward).__name__, "parameters": reward.num_parameters}

    @app.post("/score")
    def score(solution: Solution) -> dict[str, list[float]]:
        return {"scores": scores([solution])[0]}

    @app.post("/score/batch")
    def score_batch(batch: Batch) -> dict[str, list[list[float]]]:
        if len(batch.solutions) > max_solutions:
            raise ValueError(
                f"solutions: expected at most {max_solutions}, got {len(batch.solutions)}; send them in parts"
            )
        return {"scores": scores(batch.solutions)}

    def refused(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, RequestValidationError):
            said = [f"{'.'.join(map(str, e['loc'][1:])) or 'body'}: {e['msg']}" for e in error.errors()]
            return JSONResponse({"error": "; ".join(said)}, status_code=422)
        return JSONResponse({"error": str(error)}, status_code=422)

    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(ValueError, refused)
    return app
