"""What it costs to score steps by the proposer's own hidden states: while it samples, and by a second pass.

    python benchmarks/math_hidden_states.py                                    # the embedded proposer
    python benchmarks/math_hidden_states.py --model DIR --problems svamp.jsonl # a model of yours

A step of a search: K lines are proposed for every partial solution, and each is scored. Arms: sampling alone; with a
head on the states of one middle layer, which sampling leaves behind; with one on three layers; with a text model of the
proposer's size, which reads what is new of each text and keeps its keys and values. All arms say the same. Time is CPU
time of this process, the arms in turn, so that a busy machine harms all alike; shown are medians over the repeats of
the ratio to sampling alone in the same repeat, and their range. What the ledger charges is shown beside.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from stepward.core.cost import Ledger, metered_reward
from stepward.core.interfaces import RewardModel, Status
from stepward.core.seeding import Rng
from stepward.domains.math import LanguageModelSettings, MathDomain, MathProblems, MathStates
from stepward.domains.math.models import skeleton
from stepward.domains.math.reading_settings import ReadingSettings
from stepward.domains.math.rewards.body import StepScorer, build_body
from stepward.domains.math.rewards.hidden import HiddenPRM, MLPHead
from stepward.domains.math.rewards.text import TextPRM
from stepward.domains.math.rewards.text_scoring import TextReward
from stepward.domains.math.states import roots

NAMES = ("sampling alone", "head on 1 layer", "head on 3 layers", "second pass")


def questions(path: str | None, number: int) -> list[str]:
    """Of a JSON Lines file, or of the synthetic family."""
    if path is None:
        return MathProblems(num_test=number).problems("test", 0)[0]["question"].to_pylist()
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["question"] for line in lines][:number]


def walk(proposer: Any, start: MathStates, depth: int, width: int, reward: RewardModel | None) -> dict[str, Any]:
    """`depth` steps of K candidates each, of which the first open one goes on; CPU seconds, and what was charged."""
    ledger, states, steps, scored = Ledger(len(start)), start, 0, 0.0
    begun = time.process_time()
    for step in range(depth):
        rng = Rng.from_ids(0, [f"{step}/{problem}" for problem in states.problem], "propose")
        children = proposer.propose(states, num_candidates=width, rng=rng)
        steps += len(children)
        if reward is not None:
            parents = states.take(np.repeat(np.arange(len(states)), width))
            with ledger.recording():
                scored += float(metered_reward(reward, MathDomain()).score(parents, children).sum())
        still = np.flatnonzero(MathDomain().status(children) == Status.OPEN)
        states = children.take(still[np.unique(children.problem[still], return_index=True)[1]])
        if not len(states):
            break
    return {"seconds": time.process_time() - begun, "steps": steps, "flops": ledger.total().flops}


def weights_of(learner: Any) -> dict[str, np.ndarray]:
    """Of a fresh module: what it says is of no account here."""
    return {name: tensor.numpy() for name, tensor in learner.module().state_dict().items()}


def arms(options: argparse.Namespace) -> dict[str, Callable[[], RewardModel | None]]:
    """Name -> a reward model as it is before a search."""
    model = ReadingSettings(model=options.model, dtype=options.dtype)
    num = skeleton(options.model).config.get_text_config().num_hidden_layers
    one, three = (max(int(0.6 * num), 1),), tuple(sorted({max(int(share * num), 1) for share in (0.4, 0.6, 0.8)}))
    heads = [HiddenPRM(model=model, layers=layers, head=MLPHead()) for layers in (one, three)]
    made = [(learner, weights_of(learner)) for learner in heads]
    builds = [lambda pair=pair: pair[0].reward(pair[1]) for pair in made]
    text = TextPRM(base=options.model)

    def second() -> RewardModel:
        scorer = StepScorer(
            build_body(options.model, pretrained=True, dtype=options.dtype), head_width=None, pool="last"
        )
        return TextReward(text.tokens, scorer, {n: tensor.float().numpy() for n, tensor in scorer.state_dict().items()})

    return dict(zip(NAMES, [lambda: None, *builds, second], strict=True))


def main() -> None:
    """Print seconds, ratios and charges of every arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="folder of a causal LM in safetensors")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--problems", help="a JSON Lines file with questions; none: the synthetic family")
    parser.add_argument("--number", type=int, default=16, help="problems")
    parser.add_argument("--candidates", type=int, default=4, help="K")
    parser.add_argument("--depth", type=int, default=4, help="steps, at most")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--arms", type=int, default=len(NAMES), help="the first so many of the arms")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = np.array(questions(options.problems, options.number), object)
    start = roots(text, np.full(len(text), "", object))
    settings = LanguageModelSettings(model=options.model, dtype=options.dtype, temperatures=(0.8,), max_step_tokens=48)
    proposer, built = settings.build(), dict(list(arms(options).items())[: options.arms])
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in built}
    for repeat in range(options.repeats + 1):
        for name, build in built.items():
            reward = build()
            result = walk(proposer, start, options.depth, options.candidates, reward)
            if repeat:  # the first round warms up
                found[name].append(result)
            del reward
    base = [result["seconds"] for result in found[NAMES[0]]]
    for name, results in found.items():
        ratios = [result["seconds"] / alone - 1 for result, alone in zip(results, base, strict=True)]
        seconds = statistics.median(result["seconds"] for result in results)
        print(
            f"{name:18} {seconds:7.2f} CPU-s  {statistics.median(ratios):+7.1%} "
            f"({min(ratios):+.1%} … {max(ratios):+.1%})  {results[0]['steps']} steps, charged "
            f"{results[0]['flops'] / 1e9:.4g} GFLOP",
            flush=True,
        )


if __name__ == "__main__":
    main()
