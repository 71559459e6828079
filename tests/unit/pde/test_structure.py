"""Errors by scale, and the drift of totals."""

import numpy as np
import pytest

from pde_world import roots
from stepward.domains.pde.metrics import per_sample
from stepward.domains.pde.structure import BANDS, band_errors, drift
from stepward.domains.pde.verifier import ReferenceVerifier


@pytest.mark.parametrize(
    ("waves", "band"), [(0, "nrmse_large"), (4, "nrmse_large"), (6, "nrmse_middle"), (12, "nrmse_small")]
)
def test_a_wave_is_an_error_of_its_own_scale(waves, band):
    """On 32 cells 4 waves have 8 cells each, 12 waves fewer than 4."""
    truth = np.ones((2, 1, 32, 32))
    wave = 0.1 * np.cos(2 * np.pi * waves * (np.arange(32) + 0.5) / 32)[:, None]
    found = band_errors(truth + wave, truth)
    rms = 0.1 if not waves else 0.1 / np.sqrt(2)
    assert {name: round(float(errors[0]), 9) for name, errors in found.items()} == {
        name: round(rms, 9) if name == band else 0.0 for name in BANDS
    }


def test_the_bands_share_the_whole_error():
    rng = np.random.default_rng(0)
    truth, fields = rng.normal(size=(2, 3, 4, 16, 16))
    total = sum(errors**2 for errors in band_errors(fields, truth).values())
    assert np.allclose(np.sqrt(total), per_sample("nrmse", fields[:, None], truth[:, None]))


def test_the_drift_is_that_of_the_worst_channel_and_reaches_the_trials():
    states = roots()
    more = states.fields.copy()
    more[:, 2] += 0.5
    size = np.sqrt((states.fields[:, 2].astype(float) ** 2).mean(axis=(1, 2)))
    assert np.allclose(drift(more, states.fields), 0.5 / size, rtol=1e-5)
    measured = ReferenceVerifier().measure(states, states.replace(fields=more))
    assert np.allclose(measured["drift"], 0.5 / size, rtol=1e-5) and set(BANDS) <= set(measured)
    assert np.allclose(measured["fixed_nrmse"], measured["nrmse"])  # at the first frame they are the same
