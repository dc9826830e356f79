import types

import matplotlib
import numpy as np
import pytest

from galzoo.data.stamps import Stamps
from galzoo.errors import InputError
from galzoo.viz.panels import panel, picture_grid, reconstruction_panel, save


def make(n=5, bands=("r",), truth=True, size=24):
    random = np.random.default_rng(0)
    image = random.normal(size=(n, size, size, len(bands)))
    image[:, 10:14, 10:14] += 20
    extra = {"variance": np.ones(image.shape), "truth": image if truth else None}
    stamps = Stamps(image, bands, 0.06, **extra)
    stamps.catalogue["snr"] = np.arange(n) + 5.0
    return stamps, types.SimpleNamespace(
        image=image, deconvolved=image, codes=np.zeros((n, 6, 6), int), chi2=np.ones(n), model_sigma=0.7
    )


def shown(figure):
    return [axis for axis in figure.axes if axis.images and axis.get_visible()]


@pytest.mark.parametrize("n", [1, 3, 9])
def test_panel_shows_every_stamp(n):
    stamps, _ = make(n)
    figure = panel(stamps, labels=[f"galaxy {row}" for row in range(n)])
    assert len(shown(figure)) == n
    assert [axis.texts[0].get_text() for axis in shown(figure)] == [f"galaxy {row}" for row in range(n)]


def test_scale_bar_has_the_length_it_says():
    figure = panel(make()[0])
    axis = figure.axes[0]
    x0, x1 = axis.lines[0].get_xdata()
    assert axis.texts[-1].get_text() == f"{(x1 - x0) * 0.06:g}″"


@pytest.mark.parametrize("truth", [True, False])
def test_reconstruction_panel_has_its_columns(truth):
    stamps, reconstruction = make(truth=truth, bands=("g", "r", "i"))
    figure = reconstruction_panel(stamps, reconstruction, rows=[4, 1])
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert ("truth" in titles) == truth
    assert len(titles) == 5 + truth
    assert len(shown(figure)) == 2 * len(titles)
    assert figure.axes[0].texts[0].get_text() == "S/N 9"


def test_residual_is_in_sigma_and_masked_pixels_are_left_out():
    stamps, reconstruction = make()
    stamps.variance[:] = 4.0
    stamps.mask = np.zeros(stamps.image.shape, bool)
    stamps.mask[:, 0] = True
    reconstruction.image = stamps.image - 6.0
    residual = np.ma.filled(reconstruction_panel(stamps, reconstruction).axes[2].images[0].get_array(), np.nan)
    np.testing.assert_allclose(residual[1:], 3.0, rtol=1e-5)
    assert np.isnan(residual[0]).all()


def test_stamps_without_variance_or_good_pixels_are_drawn(tmp_path):
    stamps, reconstruction = make(truth=False)
    stamps.variance = None
    stamps.image[0] = np.nan
    reconstruction.chi2[0] = np.nan
    save(reconstruction_panel(stamps, reconstruction), tmp_path / "panel.png")
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


def test_pictures_and_their_reconstructions_share_a_scale():
    stamps, reconstruction = make(n=2, bands=("r", "g", "b"), truth=False)
    stamps.image = np.random.default_rng(1).integers(0, 255, stamps.image.shape, dtype=np.uint8)
    stamps.variance = None
    reconstruction.image = reconstruction.deconvolved = stamps.image.astype(np.float32) + 0.2
    axes = reconstruction_panel(stamps, reconstruction).axes
    image, model, sharp = (axes[column].images[0].get_array() for column in (0, 1, 3))
    np.testing.assert_array_equal(image, model)
    np.testing.assert_array_equal(image, sharp)


def test_no_global_state_of_pyplot_is_touched():
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend()
    panel(make()[0])
    assert plt.get_fignums() == []
    assert matplotlib.get_backend() == backend


def test_picture_grid():
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 3
    assert len(shown(picture_grid({"a": pictures, "b": pictures}, labels="xyz", title="t"))) == 6
    with pytest.raises(InputError):
        picture_grid({"a": pictures, "b": pictures[:2]})


def test_bad_requests_are_refused():
    stamps, reconstruction = make()
    for call in (
        lambda: panel(stamps[:0]),
        lambda: panel(stamps, labels=["one"]),
        lambda: panel(stamps, rows=[7]),
        lambda: reconstruction_panel(stamps[:2], reconstruction),
    ):
        with pytest.raises(InputError):
            call()
