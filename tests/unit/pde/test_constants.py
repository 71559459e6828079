"""What constants gain, from a few numbers a state: the same as by making the fields."""

import numpy as np
import pytest
import torch

from pde_world import mined, surrogate
from stepward.core.seeding import Rng
from stepward.domains.pde.constants import best_constant, change_terms, changed_errors, read_off
from stepward.domains.pde.data import fields_of, pde_states
from stepward.domains.pde.generators import DeterministicGenerator, StructuredGenerator, StructuredSettings
from stepward.domains.pde.generators.direct import blur
from stepward.domains.pde.ranking_labels import _figures, _steady
from stepward.domains.pde.rankings import Ranker, RankingContent
from stepward.domains.pde.states import PDE
from stepward.domains.pde.verifier import ReferenceVerifier


def test_the_quadratic_is_the_error_of_changed_fields_and_its_best_constant_the_least():
    states = pde_states(mined())
    made = DeterministicGenerator(surrogate()).propose(states, num_candidates=1, rng=Rng.from_seed(0, len(states), "x"))
    truth = ReferenceVerifier().truth(made)
    terms = change_terms(states.fields, made.fields, truth)
    plain = -ReferenceVerifier().outcome(made)

    def error(a, b):
        d = torch.from_numpy(made.fields)
        fields = (d + a * (d - blur(d)) + b * (d - torch.from_numpy(states.fields))).numpy()
        return -ReferenceVerifier().outcome(made.replace(fields=fields))

    for theta in ((0.3, 0.0), (-0.2, 0.1)):
        assert np.allclose(changed_errors(terms, plain, np.array([theta])), error(*theta), rtol=1e-4)
    best = best_constant(terms)
    assert (error(*best) ** 2).mean() < min((error(*(best + d)) ** 2).mean() for d in ((0.05, 0), (0, -0.05)))
    rule = changed_errors(terms, plain, read_off(terms, terms))
    assert (rule**2).mean() < (error(*best) ** 2).mean()  # on its own states a rule with more numbers fits better


@pytest.mark.parametrize("convention", ["nrmse", "fixed_nrmse", "well_vrmse"])
def test_labels_report_headroom_over_constants_in_the_convention_of_their_errors(convention):
    """Around the best constant no constant is left to be gained."""
    truth = ReferenceVerifier(convention)

    def headroom(**settings):
        generator = StructuredGenerator(surrogate(), StructuredSettings(**settings))
        ranker = Ranker(
            RankingContent(num_candidates=8, num_kept=3, convention=convention), domain=PDE(), proposer=generator,
            verifier=truth,
        )  # fmt: skip
        [table] = ranker(mined(share=1.0))
        columns = [fields_of(table, name).astype(float) for name in ("errors", "baseline_errors", "change_terms")]
        baselines = np.concatenate([columns[1], _steady({"train": columns}, *columns)], axis=1)
        return columns, _figures("train", columns[0], baselines)

    columns, found = headroom()
    known = convention != "well_vrmse"
    assert (found["error_constant.train"] < found["error_deterministic.train"]) == known
    assert found["headroom_over_constant.train"] < found["headroom_over_deterministic.train"] or not known
    if convention == "nrmse":
        centre = tuple(best_constant(columns[2]))
        _, centred = headroom(centre=centre)
        assert centred["error_constant.train"] == pytest.approx(centred["error_deterministic.train"], rel=1e-2)
