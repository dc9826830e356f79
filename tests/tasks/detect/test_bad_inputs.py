"""What is wrong with a request is said in one line that names it and the mend, and nothing that was written is lost."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from typer.testing import CliRunner

from galzoo.cli import app
from galzoo.errors import GalzooError, InputError
from galzoo.field.open_field import open_field
from galzoo.models.mask_rcnn.model import MaskRCNN
from galzoo.tasks.detect.choose_detector import check_role, choose_detector
from galzoo.tasks.detect.iterate import detect_iterated
from galzoo.tasks.detect.run import Settings, detect_field
from tests.field.fields import BANDS, FWHM, SCALE, blends, draw, write
from tests.tasks.detect.fakes import Peaks

QUICK = Settings(tile=64, report=False)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    return write(folder / "field.fits", draw((80, 90), blends((80, 90), 8)))


def fails(function, field, folder, *words, error=InputError, **options):
    """The call must fail with one line that holds `words`, and leave an older catalogue as it was."""
    (folder / "out").mkdir(exist_ok=True)
    (folder / "out" / "catalogue.ecsv").write_text("# galzoo 0: precious")
    options = {"seeing": FWHM * SCALE, "bands": list(BANDS), "settings": QUICK, **options}
    with pytest.raises(error) as caught:
        function(field, folder / "out", **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert (folder / "out" / "catalogue.ecsv").read_text() == "# galzoo 0: precious"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("both --psf and --seeing", "give one"), {"psf": "psf.fits"}),
        (("--seeing is -1", "above 0"), {"seeing": -1}),
        (("unknown preset 'no_such_preset'",), {"preset": "no_such_preset"}),
        (("do not detect",), {"preset": "vqvae_candels_h"}),
        (("band 'r' is none", "g, i, z", "--as"), {"detector": Peaks(bands=("g", "i", "z"))}),
        (("pixels of 0.2 arcsec", "knows 0.4", "resample"), {"detector": Peaks(pixel_scale=0.4)}),
        (("missing.ecsv", "no such catalogue"), {"truth": "missing.ecsv"}),
        (("band 'g' is named twice",), {"bands": ["g", "g", "i"]}),
    ],
)
def test_requests(words, options, field, tmp_path):
    fails(detect_field, field, tmp_path, *words, error=GalzooError if "preset" in options else InputError, **options)


def test_bands_and_pixels_are_looked_at_before_the_network_is_loaded(field, tmp_path, monkeypatch):
    monkeypatch.setattr("galzoo.presets.load_for", lambda *_: pytest.fail("loaded"))
    fails(detect_field, field, tmp_path, "band 'H' is none", "lsst", preset="mask_rcnn_lsst", names=["g", "r", "H"])
    fails(
        detect_field, field, tmp_path, "mask_rcnn_decam_grz knows", preset="mask_rcnn_decam_grz", names=["g", "r", "z"]
    )


def test_a_preset_that_is_told_the_psf_takes_pixels_of_any_size(field):
    with open_field(field, names=["-", "r", "i"]) as opened:
        assert abs(opened.pixel_scale / 0.396 - 1) > 0.25
        assert choose_detector("starnet_sdss", opened)[2].bands == ("r", "i")


@pytest.mark.parametrize(
    ("columns", "words", "options"),
    [
        ({"x": [5.0], "y": [5.0]}, ("no magnitude", "--columns mag="), {}),
        ({"x": [5.0], "y": [5.0], "m": [20.0]}, ("no column 'i_auto'",), {"columns": {"mag": "i_auto"}}),
        ({"x": [500.0], "y": [5.0], "mag": [20.0]}, ("none of 1 rows is on the field (90x80)",), {}),
        ({"x": [np.nan], "y": [5.0], "mag": [20.0]}, ("none of 1 rows",), {}),
        ({"a": [500.0], "mag": [20.0]}, ("no positions", "map ra and dec"), {}),
        ({"x": [5.0], "y": [5.0], "mag": [20.0]}, ("column role 'dex' is unknown",), {"columns": {"dex": "x"}}),
        ({"x": [5.0], "y": [5.0], "mag": ["20.1:"]}, ("column mag holds no numbers", "--columns mag="), {}),
        ({"x": [5.0], "y": [5.0], "mag": [2.0] * u.uJy}, ("column mag is in uJy, so no magnitudes",), {}),
    ],
)
def test_truth_lists(columns, words, options, field, tmp_path):
    fails(detect_field, field, tmp_path, *words, truth=QTable(columns), **options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 5.0}, "--threshold is 5.0; give a probability"),
        ({"threshold": 0.0}, "between 0 and 1"),
        ({"tile": 10}, "--tile is 10"),
        ({"inject": -1}, "--inject is -1"),
        ({"inject_magnitudes": (26, 20)}, "the brighter and the fainter limit"),
        ({"match": 0}, "--match is 0"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_settings(settings, words):
    with pytest.raises(InputError, match=words):
        Settings(**settings)


def test_images(field, tmp_path):
    fails(detect_field, tmp_path / "none.fits", tmp_path, "none.fits")
    (tmp_path / "broken.fits").write_bytes(field.read_bytes()[:4000])
    fails(detect_field, tmp_path / "broken.fits", tmp_path, "broken.fits", bands=None)
    write(tmp_path / "dark.fits", np.full((3, 80, 90), np.nan))
    fails(detect_field, tmp_path / "dark.fits", tmp_path, "too few good pixels")
    write(tmp_path / "below.fits", np.full((3, 80, 90), -1.0))
    fails(
        detect_field, field, tmp_path, "too few good pixels", "noise map", "below.fits", weight=tmp_path / "below.fits"
    )
    write(tmp_path / "flat.fits", np.ones((3, 80, 90)))
    fails(detect_field, tmp_path / "flat.fits", tmp_path, "no noise", "--variance")
    fits.writeto(tmp_path / "psf.fits", np.zeros((9, 9), np.float32))
    fails(detect_field, field, tmp_path, "psf.fits", psf=tmp_path / "psf.fits", seeing=None)


def test_iterating(field, tmp_path):
    fails(detect_iterated, field, tmp_path, "--rounds is 0", rounds=0)
    fails(detect_iterated, field, tmp_path, "--inject and --iterate", settings=Settings(inject=3))
    fails(detect_iterated, field, tmp_path, "do not detect", residual="vqvae_candels_h", error=GalzooError)
    fails(detect_iterated, field, tmp_path, "detector of images", "lsst_residual", residual="mask_rcnn_lsst")


def test_a_detector_of_residuals_is_none_of_images():
    check_role(MaskRCNN.tiny(residual=True), "mine", residual=True)
    check_role(MaskRCNN.tiny(), "mine", residual=False)
    check_role(Peaks(), "of another package", residual=False)
    with pytest.raises(InputError, match="mine: looks for what a fit has left.*--residual with --iterate"):
        check_role(MaskRCNN.tiny(residual=True), "mine", residual=False)


def test_output(field, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"):
        detect_field(field, tmp_path / "file", seeing=0.7, settings=QUICK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--as", "g,r"], "name the bands of the files first"),
        (["--residual", "some"], "--residual is for --iterate"),
        (["--deblender", "some"], "--deblender is for --iterate"),
        (
            ["--inject", "5", "--inject-magnitudes", "bright"],
            "--inject-magnitudes is 'bright'; give two numbers, LOW,HIGH",
        ),
        (["--threshold", "7"], "give a probability between 0 and 1"),
    ],
)
def test_command(arguments, words, field):
    result = CliRunner().invoke(app, ["detect", str(field), *arguments])
    assert result.exit_code != 0
    assert words in (" ".join(result.output.split()) + str(result.exception or ""))
