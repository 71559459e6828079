r"""A surrogate of the paper's size on a GPU: how fast it trains, and what a step costs its proposer and its scorer.

    python benchmarks/gpu_fields.py make --file flows.npz          # on any machine: trajectories, once
    python benchmarks/gpu_fields.py run --file flows.npz           # on the machine with the GPU
    python benchmarks/gpu_fields.py make --file t.npz --num 4 --cells 16 && \
        python benchmarks/gpu_fields.py run --file t.npz --device cpu --seconds 5 --states 4    # tries everything

The surrogate is the vision transformer of arXiv:2509.02846 (width 256, depth 6, 4.8 M weights), the scorer its
convolutional reward model (width 64, depth 6). A step proposes K candidates of every state by MC dropout, one forward
pass a candidate and one without chance, and scores them all. Times are medians over the steps of a rollout.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepward.core.seeding import Rng
from stepward.domains.pde.flows import Flow
from stepward.domains.pde.generators import DropoutGenerator
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.rewards import CNNSettings
from stepward.domains.pde.rewards.cnn import CNNReward
from stepward.domains.pde.states import PDEStates, roots
from stepward.domains.pde.surrogates import ViTSettings, build_surrogate, losses

FAMILIES = ("riemann", "curved", "kelvin", "gaussian")


def make(options: argparse.Namespace) -> None:
    """Simulate trajectories of four families and keep them in half precision."""
    names = [
        Flow(FAMILIES[i % 4], cells=options.cells, num_steps=20, dt=0.05, seed=0, index=i).name
        for i in range(options.num)
    ]
    fields = np.stack(trajectories(names)).astype(np.float16)
    np.savez_compressed(options.file, fields=fields, names=names)
    print(f"{options.file}: {fields.shape}, {Path(options.file).stat().st_size / 2**20:.1f} MiB")


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def train(network: Any, data: torch.Tensor, options: argparse.Namespace) -> dict[str, float]:
    """AdamW on random windows for so many seconds; the loss is that of one step, in bf16 where the device has it."""
    rng = np.random.default_rng(0)
    network.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-4, fused=options.device == "cuda")
    steps, losses_, start = 0, list[torch.Tensor](), time.perf_counter()
    while time.perf_counter() - start < options.seconds:
        rows, frames = rng.integers(0, len(data), options.batch), rng.integers(0, data.shape[1] - 1, options.batch)
        window = torch.stack([data[rows, frames], data[rows, frames + 1]], dim=1)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.device == "cuda"):
            loss = losses.pushforward(network, window)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses_.append(loss.detach())
        steps += 1
    wait(options.device)
    taken = time.perf_counter() - start
    network.eval().requires_grad_(False)
    first, last = (float(torch.stack(part).mean()) for part in (losses_[:20], losses_[-20:]))
    return {"steps": steps, "windows_s": steps * options.batch / taken, "first_loss": first, "last_loss": last}


def one_step_error(network: Any, data: torch.Tensor) -> float:
    """NRMSE of one step from every frame of the held-out trajectories."""
    before, after = data[:, :-1].flatten(0, 1), data[:, 1:].flatten(0, 1)
    with torch.inference_mode():
        predicted = torch.cat([network(part) for part in before.split(64)])
    error = (predicted - after).square().flatten(1).mean(1).sqrt() / after.square().flatten(1).mean(1).sqrt()
    return float(error.mean())


def rollout(
    generator: DropoutGenerator, reward: CNNReward, states: PDEStates, options: argparse.Namespace, *, half: bool
) -> dict[str, float]:
    """Roll out, choosing the best of K at every step; seconds of a step for proposing and for scoring."""
    k, proposing, scoring = options.candidates, list[float](), list[float]()
    rng = Rng.from_seed(0, len(states), "rollout")
    for step in range(options.steps):
        with torch.autocast(options.device, torch.bfloat16, enabled=half):
            wait(options.device)
            start = time.perf_counter()
            children = generator.propose(states, num_candidates=k, rng=rng.fork(step))
            wait(options.device)
            proposed = time.perf_counter()
            scores = reward.score(states.take(np.repeat(np.arange(len(states)), k)), children)
            wait(options.device)
        proposing.append(proposed - start)
        scoring.append(time.perf_counter() - proposed)
        states = children.take(np.arange(len(states)) * k + scores.reshape(-1, k).argmax(axis=1))
        states = states.replace(fields=states.fields.float(), deterministic=states.deterministic.float())
    a_step = {"proposer_s": float(np.median(proposing[1:])), "scorer_s": float(np.median(scoring[1:]))}
    return a_step | {"candidates_s": len(states) * k / (a_step["proposer_s"] + a_step["scorer_s"])}


def run(options: argparse.Namespace) -> None:
    """Train, then roll out in both precisions."""
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    with np.load(options.file) as kept:
        fields, names = kept["fields"].astype(np.float32), kept["names"].tolist()
    held = max(1, len(fields) // 5)
    network = build_surrogate(ViTSettings())
    network.fit_scales(fields[held:])
    network = network.to(options.device)
    data = torch.from_numpy(fields).to(options.device)
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "parameters": network.num_parameters}
    found |= {"grid": list(fields.shape[2:]), "train": train(network, data[held:], options)}
    found["nrmse"], persistence = one_step_error(network, data[:held]), data[:held]
    still = (persistence[:, 1:] - persistence[:, :-1]).square().flatten(2).mean(2).sqrt()
    found["persistence"] = float((still / persistence[:, 1:].square().flatten(2).mean(2).sqrt()).mean())
    learner = CNNSettings(inputs="raw", padding="zeros", patch=1, width=64, depth=6)
    reward = learner.reward({key: value.numpy() for key, value in learner.module().state_dict().items()})
    rows = np.arange(options.states) % len(fields)
    start = roots(fields[rows, 0], [names[row] for row in rows], np.zeros(len(rows)), np.full(len(rows), options.steps))
    start = start.replace(fields=data[rows, 0], deterministic=data[rows, 0])
    generator = DropoutGenerator(network)
    for half in (False, True) if options.device == "cuda" else (False,):
        found["bf16" if half else "fp32"] = rollout(generator, reward, start, options, half=half)
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu_fields.json").write_text(json.dumps(found, indent=1))


def main() -> None:
    """Make trajectories, or measure on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "run"])
    parser.add_argument("--file", required=True, help="trajectories, .npz")
    parser.add_argument("--num", type=int, default=40, help="trajectories to make")
    parser.add_argument("--cells", type=int, default=64, help="cells along an axis")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=90, help="of training")
    parser.add_argument("--batch", type=int, default=64, help="windows a step of training")
    parser.add_argument("--states", type=int, default=64, help="rollouts at once")
    parser.add_argument("--candidates", type=int, default=16, help="K of every state")
    parser.add_argument("--steps", type=int, default=10, help="steps of a rollout")
    parser.add_argument("--out", type=Path, help="folder for gpu_fields.json")
    options = parser.parse_args()
    {"make": make, "run": run}[options.what](options)


if __name__ == "__main__":
    main()
