import numpy as np
import pytest
import torch

from pde_world import mined, roots, surrogate
from stepward.core.cost import Ledger, metered_proposer
from stepward.core.seeding import Rng
from stepward.domains.pde.data import pde_states
from stepward.domains.pde.generators import (
    CodeGenerator,
    DeterministicGenerator,
    DropoutGenerator,
    LatentGenerator,
    LatentSettings,
    MembersGenerator,
    MembersSettings,
    NoHeadroomError,
    NoiseGenerator,
    NoiseSettings,
    SolverProposer,
    SolverSettings,
    StructuredGenerator,
    StructuredSettings,
    TauGenerator,
    TauSettings,
    measure_headroom,
)
from stepward.domains.pde.generators.direct import blur
from stepward.domains.pde.solver import EulerSolver
from stepward.domains.pde.states import PDE
from stepward.domains.pde.surrogates import UNetSettings, build_surrogate
from stepward.domains.pde.verifier import ReferenceVerifier


def streams(n, seed=0):
    return Rng.from_seed(seed, n, "test")


def generators():
    plain, coded = surrogate(), surrogate(0.0, 4)
    return {
        "deterministic": DeterministicGenerator(plain),
        "structured": StructuredGenerator(plain, StructuredSettings()),
        "noise": NoiseGenerator(plain, NoiseSettings()),
        "dropout": DropoutGenerator(plain),
        "latent": LatentGenerator(plain, LatentSettings()),
        "code": CodeGenerator(coded),
    }


@pytest.mark.parametrize("kind", sorted(generators()))
def test_candidates_do_not_depend_on_the_batch_and_carry_the_deterministic_output(kind):
    generator, states = generators()[kind], roots()
    children = generator.propose(states, num_candidates=3, rng=streams(4))
    alone = generator.propose(states.take([2]), num_candidates=3, rng=streams(4).take([2]))
    assert np.allclose(alone.fields, children.fields[6:9], atol=1e-5)
    plain = DeterministicGenerator(generator.surrogate).propose(states, num_candidates=1, rng=streams(4))
    assert np.allclose(children.deterministic, plain.fields.repeat(3, axis=0), atol=1e-5)
    spread = np.ptp(children.fields.reshape(4, 3, -1), axis=1).max()
    assert (spread == 0) == (kind == "deterministic")


@pytest.mark.parametrize("kind", sorted(generators()))
def test_a_second_draw_from_the_same_streams_gives_other_candidates(kind):
    rng, states = streams(4), roots()
    first, second = (generators()[kind].propose(states, num_candidates=2, rng=rng).fields for _ in range(2))
    assert np.array_equal(first, second) == (kind == "deterministic")


def test_structured_candidates_are_two_numbers_each_with_the_right_spread():
    generator = StructuredGenerator(surrogate(), StructuredSettings(sharpness=0.3, progress=0.1))
    states = roots().take([0])
    children = generator.propose(states, num_candidates=400, rng=streams(1))
    change = (children.fields - children.deterministic).reshape(400, -1).astype(np.float64)
    plain = children.deterministic[:1].astype(np.float64)
    smooth = plain
    for axis in (2, 3):
        smooth = sum(w * np.roll(smooth, s, axis) for s, w in ((-1, 0.25), (0, 0.5), (1, 0.25)))
    directions = np.stack([(plain - smooth).ravel(), (plain - states.fields).ravel()], axis=1)
    numbers, *_ = np.linalg.lstsq(directions, change.T, rcond=None)
    assert np.abs(directions @ numbers - change.T).max() < 1e-5
    for drawn, size in zip(numbers, (0.3, 0.1), strict=True):
        assert abs(drawn.mean()) < 5 * size / np.sqrt(400)
        assert abs(drawn.std() - size) < 5 * size / np.sqrt(2 * 400)


def test_structured_candidates_conserve_what_the_deterministic_output_conserves():
    """Blurring keeps totals, and so does a multiple of a step that keeps them: b adds b times the step's own gap."""
    generator = StructuredGenerator(surrogate(), StructuredSettings(progress=0.0))
    children = generator.propose(roots(), num_candidates=4, rng=streams(4))
    totals = [f.astype(np.float64).mean(axis=(2, 3)) for f in (children.fields, children.deterministic)]
    assert np.allclose(*totals, atol=1e-6)


def test_noise_follows_its_schedule_and_its_last_value_holds():
    generator = NoiseGenerator(surrogate(), NoiseSettings(schedule=(0.08, 0.05, 0.02)))
    states = roots()
    step_scale = surrogate().step_scale.numpy()
    for step, sigma in ((0, 0.08), (1, 0.05), (2, 0.02), (3, 0.02)):
        here = states.replace(steps=np.full(4, step))
        children = generator.propose(here, num_candidates=8, rng=streams(4))
        noise = (children.fields - children.deterministic) / step_scale
        assert abs(noise.std() - sigma) < 5 * sigma / np.sqrt(2 * noise.size)


def test_the_first_candidate_can_be_the_deterministic_output():
    generator = DropoutGenerator(surrogate(), include_deterministic=True)
    children = generator.propose(roots(), num_candidates=3, rng=streams(4))
    assert np.array_equal(children.fields[::3], children.deterministic[::3])
    plain = DeterministicGenerator(surrogate()).propose(roots(), num_candidates=1, rng=streams(4))
    assert np.array_equal(PDE().keys(children)[::3], PDE().keys(plain))  # the same state, whoever proposed it


@pytest.mark.parametrize("make", [CodeGenerator, lambda s: TauGenerator(s, TauSettings())])
def test_a_surrogate_without_the_kind_of_chance_is_refused(make):
    with pytest.raises(ValueError, match="expected a surrogate that knows"):
        make(surrogate())


@pytest.mark.parametrize(("kind", "passes"), [("structured", 1), ("deterministic", 1), ("noise", 1), ("dropout", 9)])
def test_forward_passes_are_charged_as_they_are_made(kind, passes, monkeypatch):
    """One pass of a state serves all its candidates, or K and one for the deterministic output; the network counts."""
    generator, rows = generators()[kind], []
    forward = generator.surrogate.forward
    monkeypatch.setattr(generator.surrogate, "forward", lambda x, d=None: rows.append(len(x)) or forward(x, d))
    ledger = Ledger(4)
    with ledger.recording():
        children = metered_proposer(generator, PDE()).propose(roots(), num_candidates=8, rng=streams(4))
    rows = rows[: -1 if rows[-1] == 1 else None]  # one more row measures the FLOPs
    assert sum(rows) == 4 * passes and ledger.spent["nfe"] == pytest.approx(passes)
    positions = generator.charged_tokens(children)[0]
    flops = 2 * generator.num_parameters * positions * passes
    assert ledger.spent["flops"] == pytest.approx(flops)


def test_flops_are_those_of_the_convolutions():
    """Multiply-adds of every convolution, from its shape: 2 · fan-in · fan-out · 9 · places."""
    layers = [
        (16, 8, 8),
        (8, 8, 8),
        (8, 8, 8),
        (8, 16, 4),
        *[(16, 16, 4)] * 4,
        (24, 8, 8),
        *[(8, 8, 8)] * 2,
        (8, 16, 8),
    ]
    flops = sum(2 * a * b * 9 * size**2 for a, b, size in layers)
    generator = DeterministicGenerator(surrogate())
    positions = generator.charged_tokens(roots())[0]
    assert 2 * generator.num_parameters * positions == pytest.approx(flops)


def test_the_solver_is_a_proposer_that_costs_no_forward_pass():
    states = pde_states(mined())
    children = SolverProposer(SolverSettings()).propose(states, num_candidates=2, rng=streams(len(states)))
    expected = EulerSolver().advance(states.fields, 0.05).astype(np.float32)
    assert np.array_equal(children.fields, expected.repeat(2, axis=0))
    errors = [-ReferenceVerifier().outcome(c).mean() for c in (children, _plain(states))]
    assert errors[0] < errors[1]


def _plain(states):
    return DeterministicGenerator(surrogate()).propose(states, num_candidates=1, rng=streams(len(states)))


def test_the_solver_gives_up_what_a_surrogate_made_unphysical():
    states = roots()
    fields = states.fields.copy()
    fields[1, 0] = -1.0
    children = SolverProposer(SolverSettings()).propose(states.replace(fields=fields), num_candidates=1, rng=streams(4))
    assert PDE().status(children).tolist() == [0, 2, 0, 0]


def headroom(proposer, k=16):
    states = pde_states(mined(share=1.0))
    rng = streams(len(states))
    return measure_headroom(
        states, proposer=proposer, verifier=ReferenceVerifier(), num_candidates=k, rng=rng, in_flight=64
    )


def test_structured_candidates_have_headroom_and_pass_the_gate():
    found = headroom(generators()["structured"])
    found.gate()
    assert (found.oracle <= found.random).all() and found.summary()["headroom.gain_over_deterministic"] > 0.02
    assert (found.diversity > 0).all()


@pytest.mark.parametrize("kind", ["noise", "deterministic"])
def test_candidates_that_cannot_help_are_stopped_at_the_gate(kind):
    found = headroom(generators()[kind])
    with pytest.raises(NoHeadroomError, match=r"cannot help.*deterministic.*structured"):
        found.gate()
    if kind == "deterministic":
        assert np.allclose(found.oracle, found.deterministic) and np.allclose(found.diversity, 0, atol=1e-6)


def test_headroom_is_what_the_candidates_say():
    states = pde_states(mined(share=1.0)).take(np.arange(3))
    generator, verifier = generators()["structured"], ReferenceVerifier()
    found = measure_headroom(states, proposer=generator, verifier=verifier, num_candidates=5, rng=streams(3), patch=16)
    children = generator.propose(states, num_candidates=5, rng=streams(3))
    errors = -verifier.outcome(children).reshape(3, 5)
    assert np.allclose(found.oracle, errors.min(axis=1)) and np.allclose(found.random, errors.mean(axis=1))
    mean = children.take(np.arange(3) * 5).replace(fields=children.fields.reshape(3, 5, 4, 16, 16).mean(axis=1))
    assert np.allclose(found.mean_of_k, -verifier.outcome(mean), rtol=1e-5)
    assert np.allclose(
        found.patch_oracle, found.oracle, rtol=0.2
    )  # one patch: best by a sum that weighs channels alike


def test_candidates_on_tensors_stay_tensors():
    import torch

    states = roots()
    fields = torch.tensor(states.fields)
    tensors = states.replace(fields=fields, deterministic=fields)
    given, expected = (_structured(s) for s in (tensors, states))
    assert isinstance(given.fields, torch.Tensor) and np.allclose(given.fields.numpy(), expected.fields, atol=1e-6)
    assert ReferenceVerifier().outcome(given) == pytest.approx(ReferenceVerifier().outcome(expected), abs=1e-6)


def _structured(states):
    return generators()["structured"].propose(states, num_candidates=2, rng=streams(4))


def test_candidates_may_lie_around_a_constant_that_is_then_the_deterministic_output():
    """Around (.5, 0) the mean of many candidates is d + .5 (d − blur d), and so is the deterministic output."""
    states = roots()
    plain = DeterministicGenerator(surrogate()).propose(states, num_candidates=1, rng=streams(4))
    centred = StructuredGenerator(surrogate(), StructuredSettings(centre=(0.5, 0.0)))
    made = centred.propose(states, num_candidates=64, rng=streams(4))
    d = torch.from_numpy(plain.fields)
    expected = (d + 0.5 * (d - blur(d))).numpy()
    assert np.allclose(made.deterministic[::64], expected, atol=1e-6)
    around = made.fields.reshape(4, 64, *expected.shape[1:]).mean(axis=1) - expected
    spread = made.fields.reshape(4, 64, *expected.shape[1:]).std(axis=1)
    assert (np.abs(around) < 5 * spread / 8 + 1e-6).all()
    onward = centred.rollout_policy().propose(states, num_candidates=1, rng=streams(4))
    assert np.allclose(onward.fields, expected, atol=1e-6)


def test_candidates_are_the_answers_of_several_surrogates_each_charged_for_its_size():
    torch.manual_seed(1)
    states, small = roots(), build_surrogate(UNetSettings(width=4)).eval()
    proposer = MembersGenerator([surrogate(), small])
    made = proposer.propose(states, num_candidates=2, rng=streams(4))
    each = [DeterministicGenerator(one) for one in (surrogate(), small)]
    alone = [one.propose(states, num_candidates=1, rng=streams(4)) for one in each]
    assert np.allclose(made.fields[0::2], alone[0].fields) and np.allclose(made.fields[1::2], alone[1].fields)
    assert np.array_equal(made.deterministic[1::2], made.fields[0::2])
    flops = [g.num_parameters * g.charged_tokens(made)[0] for g in proposer.members]
    assert proposer.num_parameters * proposer.charged_tokens(made)[0] == pytest.approx(sum(flops) / 2)
    with pytest.raises(ValueError, match="expected 2, one of each surrogate"):
        proposer.propose(states, num_candidates=3, rng=streams(4))
    with pytest.raises(ValueError, match="two or more"):
        MembersGenerator([small])
    with pytest.raises(ValueError, match="at least 2 items"):
        MembersSettings(surrogates=("one",))
