"""scarlet2 beside the other baselines: there where it is installed, and right on easy scenes."""

import numpy as np
import pytest

from galzoo.tasks.deblend import scarlet
from tests.scenes import make_scenes


def test_it_is_left_out_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(scarlet.importlib.util, "find_spec", lambda name: None)
    assert not scarlet.installed()


def test_two_galaxies_far_apart_have_their_fluxes():
    pytest.importorskip("scarlet2")
    batch = make_scenes(2, seed=1, apart=16, flux=(3000.0, 6000.0)).batch()
    result = scarlet.Scarlet2(steps=300)(batch)
    present = np.arange(batch["positions"].shape[1]) < batch["n_sources"][:, None]
    np.testing.assert_allclose(result.flux[present], batch["flux"][present], rtol=0.15)
    assert np.isnan(result.flux_error[present]).all()
    assert np.all(result.image[~present] == 0)


def test_scenes_without_sources_are_answered():
    batch = make_scenes(2, seed=1, apart=16).batch()
    batch["n_sources"] = np.zeros(2, int)
    result = scarlet.Scarlet2()(batch)
    assert not result.present.any()
    np.testing.assert_allclose(result.residual, batch["image"], rtol=1e-6)
