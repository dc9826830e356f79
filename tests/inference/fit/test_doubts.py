"""By how much errors grow: by hand, and with the constants that were fitted."""

import json

import numpy as np
import pytest

from galzoo import resources
from galzoo.inference.fit import doubts

FITTED = resources.configs_dir().parent / "docs" / "benchmarks" / "bench_deblend_errors.json"


def test_constants_are_those_that_were_fitted():
    fitted = json.loads(FITTED.read_text(encoding="utf-8"))["constants"]
    assert set(fitted) == {"coherent", "unseen", "pulled", "lopsided", "sizes"}
    assert fitted == {name: getattr(doubts, name.upper()) for name in fitted}


def test_errors_of_fluxes():
    """3 of the posterior, 0.02 x 200 = 4 of the flux and 12 of 30 that neighbours may take: 13 in quadrature."""
    error, flux, shared = (np.full((1, 1, 1), value) for value in (3.0, 200.0, 30.0))
    found = doubts.flux_errors(error, flux, np.array([0.2]), shared, 0.02, coherent=2.0, unseen=0.0)
    assert found.item() == pytest.approx(13)
    found = doubts.flux_errors(error, flux, np.array([0.0]), shared, 0.02, coherent=2.0, unseen=20.0)
    assert found.item() == pytest.approx(13)
    alone = doubts.flux_errors(error, flux, np.array([0.9]), 0 * shared, 0.02)
    assert alone.item() == pytest.approx(5)


def test_part_is_that_of_the_scene():
    flux = np.ones((2, 3, 1))
    found = doubts.flux_errors(0 * flux, 0 * flux, np.array([0.0, 0.5]), flux, 0.0, coherent=2.0)
    np.testing.assert_allclose(found[..., 0], [[0, 0, 0], [1, 1, 1]])


def test_strain_of_places():
    """0.02 x 100 sigma of neighbours and 0.02 x 0.5 x 150 of the own light: sqrt(1 + 4 + 2.25)."""
    assert doubts.strain(np.array(100.0), np.array(150.0), 0.02, pulled=1.0, lopsided=0.5) == pytest.approx(7.25**0.5)
    assert doubts.strain(np.array(0.0), np.array(0.0), 0.02) == 1
    assert doubts.strain(np.array(100.0), np.array(0.0), 0.02, 1.5, pulled=1.0) == pytest.approx(10**0.5)
