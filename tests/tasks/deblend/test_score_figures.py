"""What the figures of the suite show: the numbers of the results, and pixels of the scenes."""

import numpy as np
import pytest
from matplotlib import colormaps

from galzoo.tasks.deblend.score_figures import _box, _residual_picture, curves_figure, psf_figure
from galzoo.viz.panels import RESIDUAL_SIGMA


@pytest.mark.parametrize(
    ("places", "rows", "columns"),
    [
        # Sixteen pixels about one source, of which six are below the image.
        ([(30, 10)], (0, 33), (14, 47)),
        # Ten pixels from one to the other; as high as the image and not beyond its right end.
        ([(85, 15), (95, 25)], (0, 40), (60, 100)),
    ],
)
def test_pictures_show_what_is_about_the_sources(places, rows, columns):
    assert _box(np.array(places, float), (40, 100, 2)) == (slice(*rows), slice(*columns))


def test_residuals_are_of_all_bands_together_in_units_of_their_noise():
    """Of 1.5 sigma in both bands, of 1.5 in the only good one, of -1.5 in both, and nowhere good."""
    variance = np.full((1, 4, 2), [4.0, 9.0])
    difference = np.array([1, 1, -1, 1])[None, :, None] * 1.5 * np.sqrt(variance)
    mask = np.zeros((1, 4, 2), bool)
    mask[0, 1, 1] = mask[0, 3] = True
    total = np.array([1.5 * np.sqrt(2), 1.5, -1.5 * np.sqrt(2)])
    expected = colormaps["RdBu_r"](0.5 + 0.5 * total / RESIDUAL_SIGMA, bytes=True)[:, :3]
    found = _residual_picture(difference, variance, mask)
    np.testing.assert_array_equal(found[0, :3], expected)
    np.testing.assert_array_equal(found[0, 3], 153)


def row(low, n, **values):
    return (
        {"low": low, "high": low + 1, "n": n} | values | {f"{key}_error": value / 10 for key, value in values.items()}
    )


def drawn(axis):
    """Return for each method the points of an axis and the half-lengths of their bars."""
    found = {}
    for bars in axis.containers:
        line, _, (segments,) = bars.lines
        lengths = [np.ptp(one[:, 1]) / 2 for one in segments.get_segments()]
        found[bars.get_label()] = np.column_stack([line.get_xydata(), lengths])
    return found


def test_curves_are_the_numbers_of_the_results():
    """A bin without sources is left out, and methods stand beside each other."""
    rows = [row(0, 5, median=0.1, scatter=0.2, share=0.9), row(1, 0, median=0.0, scatter=0.0, share=0.0),
            row(2, 6, median=0.3, scatter=0.4, share=0.8)]  # fmt: skip
    every = dict.fromkeys(("blendedness", "magnitude", "separation"), rows)
    one = {"flux": every, "ellipticity": every, "found": every}
    figure = curves_figure({"methods": {"given": one, "finding": one | {"purity": {}}}})
    axes = {(axis.get_xlabel(), axis.get_ylabel()): axis for axis in figure.axes}
    median = drawn(axes["blendedness", "flux, relative: median"])
    np.testing.assert_allclose(median["given"], [[-0.035, 0.1, 0.01], [0.965, 0.3, 0.03]])
    np.testing.assert_allclose(median["finding"], [[0.035, 0.1, 0.01], [1.035, 0.3, 0.03]])
    scatter = drawn(axes["separation / arcsec", "flux, relative: scatter"])
    np.testing.assert_allclose(scatter["given"][:, 1:], [[0.2, 0.02], [0.4, 0.04]])
    found = drawn(axes["blendedness", "share found"])
    assert set(found) == {"finding"}
    np.testing.assert_allclose(found["finding"][:, 1:], [[0.9, 0.09], [0.8, 0.08]])
    labels = [tick.get_text() for tick in axes["magnitude", "flux, relative: scatter"].get_xticklabels()]
    assert len(labels) == len(set(labels)) == 2


def test_scatter_stands_against_the_width_of_the_psf():
    sets = {
        str(fwhm): {"psf_fwhm": fwhm, "methods": {"some": {"flux": {"all": row(0, 5, median=9.0, scatter=scatter)}}}}
        for fwhm, scatter in ((1.1, 0.3), (0.7, 0.2))
    }
    axis = psf_figure({"sets": sets}).axes[0]
    np.testing.assert_allclose(drawn(axis)["some"], [[0.7, 0.2, 0.02], [1.1, 0.3, 0.03]])
    assert axis.get_xlabel() == "PSF FWHM / arcsec"
