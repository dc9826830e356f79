"""Samples through other telescopes: against GalSim and against formulae; and what the command writes and refuses."""

import logging

import galsim
import numpy as np
import pytest
import typer
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from galzoo import Stamps
from galzoo.contracts.prior import Samples
from galzoo.data.psf import fwhm_of
from galzoo.errors import InputError, UnknownNameError
from galzoo.field.pieces import check_folder
from galzoo.simulate.observe import observe
from galzoo.simulate.other_telescope import Optics
from galzoo.simulate.surveys import get_survey, noise_sigma
from galzoo.tasks.sample import command
from galzoo.tasks.sample.run import class_names, parse_conditions, warnings_of, write_samples
from galzoo.viz.page import page


def blob(size, sigma, x=0.0, y=0.0, squeeze=1.0):
    """Return a Gaussian of unit flux, its centre off the middle by x, y; all in pixels."""
    grid = np.arange(size) - (size - 1) / 2
    across, along = np.exp(-0.5 * ((grid - x) / (sigma * squeeze)) ** 2), np.exp(-0.5 * ((grid - y) / sigma) ** 2)
    return np.outer(along, across) / (2 * np.pi * sigma**2 * squeeze)


def make_samples(n=3, size=32, bands=("g", "r", "i"), survey="LSST", scale=0.2, unit="nJy", width=2.0, **changes):
    flux = 1000.0 * (1 + np.arange(n))[:, None] * (1 + np.arange(len(bands)))
    sigma = np.hypot(width, 0.7)
    image = np.moveaxis(flux[..., None, None] * blob(size, sigma, 0.3, -0.2), 1, -1)
    values = {"condition": {"t_type": np.arange(n) + 0.5}, "log_prob": -np.arange(n, dtype=float), "model_sigma": 0.7}
    return Samples(image, bands=bands, pixel_scale=scale, unit=unit, survey=survey, **(values | changes))


def centroid(image):
    places = [np.arange(n) - (n - 1) / 2 for n in image.shape]
    return np.array([(image.sum(axis=0) * places[1]).sum(), (image.sum(axis=1) * places[0]).sum()]) / image.sum()


@pytest.mark.parametrize(
    ("source", "size", "band", "survey", "new"),
    [
        ("LSST", 32, "i", "HSC", None),
        ("LSST", 33, "i", "DES", 30),
        ("HSC", 40, "r", "LSST", 27),
        ("CANDELS", 64, "F160W", "Euclid_VIS", 41),
    ],
)
def test_a_view_is_what_galsim_draws(source, size, band, survey, new):
    telescope, scale = get_survey(survey), get_survey(source).pixel_scale.to_value(u.arcsec)
    step = telescope.pixel_scale.to_value(u.arcsec)
    image = 900 * blob(size, 2.2, 0.4, -0.3, 0.5) + 300 * blob(size, 1.1, 0.4, -0.3)
    samples = make_samples(1, size, (band,), source, scale)
    samples.image = image[None, ..., None]
    stamps = observe(samples, telescope, size=new, vary_psf=False)
    optics = Optics(telescope, stamps.bands, step, scale, 41, vary=False)
    tight = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-4, maxk_threshold=1e-4, kvalue_accuracy=1e-6)
    galaxy, psf = (
        galsim.InterpolatedImage(galsim.Image(pixels, scale=pixel), x_interpolant="lanczos15", gsparams=tight)
        for pixels, pixel in ((image, scale), (optics.nominal[0], optics.step))
    )
    frame = galsim.Gaussian(sigma=0.7 * scale, gsparams=tight)
    seen = galsim.Convolve(galaxy, galsim.Deconvolve(frame), psf, gsparams=tight)
    nx = stamps.shape[0]
    expected = seen.drawImage(nx=nx, ny=nx, scale=step, method="no_pixel", dtype=float).array
    assert nx == (new or round(size * scale / step))
    assert np.abs(stamps.image[0, ..., 0] - expected).max() < 1e-3 * expected.max()
    assert not stamps.meta["kept_resolution"]


@pytest.mark.parametrize(("size", "new"), [(32, 91), (31, 90), (32, 90)])
def test_flux_and_centre_are_kept(size, new):
    samples = make_samples(1, size)
    stamps = observe(samples, "HSC", size=new)
    for band in range(3):
        given, seen = samples.image[0, ..., band], stamps.image[0, ..., band].astype(float)
        assert seen.sum() == pytest.approx(given.sum(), rel=1e-4)
        # The survey's PSF is drawn symmetric about its centre.
        np.testing.assert_allclose(centroid(seen) * stamps.pixel_scale, centroid(given) * 0.2, atol=0.01 * 0.168)
        assert stamps.catalogue[f"flux_{'gri'[band]}"][0].to_value(u.nJy) == pytest.approx(given.sum(), rel=1e-6)


@pytest.mark.parametrize("kind", ["array", "file"])
def test_own_psf_takes_the_place_of_the_model_frame(kind, tmp_path):
    psf = blob(31, 2.5)
    if kind == "file":
        psf = tmp_path / "psf.fits"
        fits.PrimaryHDU(blob(61, 5.0), fits.Header({"PIXSCALE": 0.1})).writeto(psf)
    stamps = observe(make_samples(2), psf=psf)
    assert stamps.pixel_scale == 0.2
    width = np.hypot(2.0, 2.5)
    expected = 2000 * blob(32, width, 0.3, -0.2)
    np.testing.assert_allclose(stamps.image[1, ..., 0], expected, atol=1e-3 * expected.max())
    np.testing.assert_allclose(
        stamps.psf[0, ..., 1], np.pad(blob(31, 2.5), 5 if stamps.psf.shape[1] == 41 else 0), atol=1e-4
    )
    assert stamps.psf.shape[0] == 1
    # On the pixels of a survey it is the same PSF on the sky.
    finer = observe(make_samples(2), "HSC", psf=blob(31, 2.5), psf_pixel_scale=0.2)
    expected = 2000 * blob(finer.shape[0], width * 0.2 / 0.168, 0.3 * 0.2 / 0.168, -0.2 * 0.2 / 0.168)
    np.testing.assert_allclose(finer.image[1, ..., 0], expected, atol=1e-3 * expected.max())


@pytest.mark.parametrize(("survey", "sigma"), [("HSC", 0.7 * 0.2 / 0.168), ("DES", 0.7)])
def test_truth_is_the_model_frame_of_the_new_pixels(survey, sigma):
    stamps = observe(make_samples(1, width=2.5), survey)
    assert stamps.meta["model_sigma"] == pytest.approx(sigma)
    ratio = 0.2 / stamps.pixel_scale
    expected = 1000 * blob(stamps.shape[0], np.hypot(2.5 * ratio, sigma), 0.3 * ratio, -0.2 * ratio)
    np.testing.assert_allclose(stamps.truth[0, ..., 0], expected, atol=1e-3 * expected.max())


def test_a_sharper_telescope_sees_no_more_than_the_model_knows(caplog):
    stamps = observe(make_samples(1), "Euclid_VIS")
    assert stamps.bands == ("IE",)
    assert stamps.meta["kept_resolution"] == ["IE"]
    assert stamps.meta["bands_from"] == {"IE": "i"}
    assert "sharper than the model frame" in caplog.text
    expected = 3000 * blob(64, np.hypot(4.0, 1.4), 0.6, -0.4)
    np.testing.assert_allclose(stamps.image[0, ..., 0], expected, atol=1e-3 * expected.max())
    np.testing.assert_allclose(stamps.psf[0, ..., 0], blob(41, 1.4), atol=1e-6)


def test_noise_is_that_of_the_survey():
    samples = make_samples(4)
    clean, noisy = observe(samples, "HSC", seed=5), observe(samples, "HSC", noise=True, seed=5)
    assert clean.variance is None
    pull = (noisy.image - clean.image) / np.sqrt(noisy.variance)
    assert abs(pull.mean()) < 5 / np.sqrt(pull.size)
    assert abs(pull.std() - 1) < 5 / np.sqrt(2 * pull.size)
    assert noisy.variance[..., 1].min() == pytest.approx(noise_sigma("HSC", "r") ** 2, rel=1e-3)
    assert noisy.variance[3, ..., 1].max() > noisy.variance[0, ..., 1].max()
    deeper = observe(samples, "HSC", noise=True, seed=5, depth=4.0)
    np.testing.assert_allclose(deeper.variance, noisy.variance / 4, rtol=1e-5)
    np.testing.assert_allclose(deeper.catalogue["snr"], 2 * noisy.catalogue["snr"], rtol=1e-5)


def test_an_object_depends_on_the_seed_and_its_number_alone():
    samples = make_samples(4)
    all_of_them = observe(samples, "HSC", noise=True, seed=2)
    samples.image = samples.image[:2]
    fewer = observe(make_samples(2), "HSC", noise=True, seed=2)
    np.testing.assert_array_equal(all_of_them.image[:2], fewer.image)
    np.testing.assert_array_equal(all_of_them.psf[:2], fewer.psf)
    assert not np.array_equal(all_of_them.psf[0], all_of_them.psf[1])
    assert not np.array_equal(observe(make_samples(2), "HSC", seed=3).psf, fewer.psf)
    assert len(observe(make_samples(2), "HSC", vary_psf=False).psf) == 1


def test_without_a_survey_the_model_frame_is_left_as_it_is():
    samples = make_samples(2)
    stamps = observe(samples, bands="i,g")
    np.testing.assert_array_equal(stamps.image, samples.image[..., [2, 0]].astype("float32"))
    assert stamps.bands == ("i", "g")
    assert stamps.truth is None
    np.testing.assert_allclose(stamps.psf[0, ..., 0].astype(float), blob(41, 0.7), atol=5e-3)
    smaller = observe(samples, size=24)
    np.testing.assert_allclose(smaller.image, samples.image[:, 4:28, 4:28], atol=1e-4 * samples.image.max())


def test_bands_are_found_by_name_then_by_wavelength(caplog):
    ugrizy = make_samples(1, bands=tuple("ugrizy"))
    assert observe(ugrizy, "HSC").bands == tuple("grizy")
    assert observe(ugrizy, "CFHTLS", bands=["z", "u"]).meta["bands_from"] == {"z": "z", "u": "u"}
    assert observe(ugrizy, "Euclid_VIS").meta["bands_from"] == {"IE": "i"}
    assert not [record for record in caplog.records if "colour" in record.message]
    hst = make_samples(1, bands=("F160W",), survey="CANDELS", scale=0.06)
    assert observe(hst, "LSST", bands="i").meta["bands_from"] == {"i": "F160W"}
    assert "LSST i (756 nm) is made of the model's F160W (1540 nm)" in caplog.text
    mine = make_samples(1, bands=("a", "r"), survey="mine")
    assert observe(mine, "LSST").bands == ("r",)
    with pytest.raises(InputError, match="'i' of LSST has no namesake.*(a, r)"):
        observe(mine, "LSST", bands="i")
    with pytest.raises(UnknownNameError, match="band of HSC 'u'.*known are g, i, r, y, z"):
        observe(ugrizy, "HSC", bands="u")
    with pytest.raises(UnknownNameError, match="band of the model 'q'"):
        observe(ugrizy, bands="q")
    with pytest.raises(InputError, match="'g' is asked for twice"):
        observe(ugrizy, "HSC", bands="g,g")


def test_pictures_are_given_as_they_are():
    rng = np.random.default_rng(0)
    pictures = make_samples(2, size=8, bands=("R", "G", "B"), unit="", model_sigma=0.0)
    pictures.image = rng.uniform(-5, 260, (2, 8, 8, 3))
    stamps = observe(pictures)
    assert stamps.image.dtype == np.uint8
    np.testing.assert_allclose(stamps.image, np.clip(pictures.image, 0, 255), atol=0.5)
    with pytest.raises(InputError, match="without a flux scale"):
        observe(pictures, "HSC")
    with pytest.raises(InputError, match="pictures stay 8 pixels"):
        observe(pictures, size=16)


def test_units_and_sizes():
    njy, ujy = make_samples(1), make_samples(1, unit="uJy")
    ujy.image = ujy.image / 1000
    np.testing.assert_allclose(observe(ujy, "HSC").image, observe(njy, "HSC").image, rtol=1e-5, atol=1e-4)
    assert observe(ujy).unit == "uJy"
    with pytest.raises(InputError, match="'adu', whose zero point is not known"):
        observe(make_samples(1, unit="adu"), "HSC")
    with pytest.raises(InputError, match="noise is that of a survey"):
        observe(njy, noise=True)
    with pytest.raises(InputError, match="size is 0"):
        observe(njy, "HSC", size=0)
    with pytest.raises(InputError, match="psf_size is 10"):
        observe(njy, "HSC", psf_size=10)
    with pytest.raises(InputError, match="2 bands|3 bands"):
        observe(njy, "HSC", psf=np.ones((5, 5, 2)) / 25)


class TestFiles:
    def test_what_is_written_can_be_read_back(self, tmp_path):
        samples = make_samples(3, codes=np.arange(3 * 64).reshape(3, 8, 8))
        samples.condition = {"t_type": np.array([1.0, np.nan, 3.0]), "flux_g": np.arange(3.0)}
        stamps = observe(samples, "HSC", noise=True)
        paths = write_samples(samples, stamps, tmp_path / "out")
        assert check_folder(tmp_path / "out", "sample")
        assert [path.name for path in paths] == ["stamps.h5", "samples.fits", "samples.png"]
        read = Stamps.load(paths[0])
        np.testing.assert_array_equal(read.image, stamps.image)
        assert read.meta["bands_from"] == {"g": "g", "r": "r", "i": "i"}
        assert read.catalogue["flux_r"].unit == u.nJy
        with fits.open(paths[1]) as file:
            names = [hdu.name for hdu in file[1:]]
            assert names == ["IMAGE", "VARIANCE", "MODEL_FRAME", "CODES", "CATALOGUE"]
            np.testing.assert_array_equal(file["IMAGE"].data[:, 2], stamps.image[..., 2])
            assert file["IMAGE"].header["PIXSCALE"] == 0.168
            assert file["VARIANCE"].header["BUNIT"] == "nJy2"
            assert file["MODEL_FRAME"].data.shape == (3, 3, 32, 32)
            assert file["MODEL_FRAME"].header["MSIGMA"] == 0.7
            assert file["CODES"].data[2, 7, 7] == 191
        table = QTable.read(paths[1], hdu="CATALOGUE")
        assert table["t_type"][1] is np.ma.masked
        assert np.isnan(read.catalogue["t_type"][1])
        assert list(table["condition_flux_g"]) == [0, 1, 2]
        assert {"id", "log_prob", "flux_g", "flux_r", "flux_i", "snr"} < set(table.colnames)
        assert paths[2].read_bytes().startswith(b"\x89PNG")
        with pytest.raises(InputError, match="2 stamps for 3 samples"):
            write_samples(samples, stamps[:2], tmp_path)

    def test_headers_say_of_each_image_what_it_is(self, tmp_path):
        """Seen on the pixels and in the unit of a survey; drawn on those of the model, in its bands and in its unit."""
        samples = make_samples(2, unit="uJy")
        stamps = observe(samples, "HSC", bands="i,g", noise=True)
        with fits.open(write_samples(samples, stamps, tmp_path)[1]) as file:
            assert (file[0].header["SURVEY"], file[0].header["PRIOR"]) == ("HSC", "LSST")
            for name, bands, scale, unit in (
                ("IMAGE", ["i", "g"], 0.168, "nJy"),
                ("VARIANCE", ["i", "g"], 0.168, "nJy2"),
                ("MODEL_FRAME", ["g", "r", "i"], 0.2, "uJy"),
            ):
                header = file[name].header
                assert [header[f"BAND{index}"] for index in range(len(bands))] == bands
                assert f"BAND{len(bands)}" not in header
                assert (header["PIXSCALE"], header["BUNIT"]) == (scale, unit)
            # What a telescope has seen is no longer in the frame of the model.
            assert ["MSIGMA" in hdu.header for hdu in file[1:4]] == [False, False, True]
            np.testing.assert_array_equal(file["VARIANCE"].data, np.moveaxis(stamps.variance, -1, 1))
            np.testing.assert_allclose(file["MODEL_FRAME"].data[1, 2], samples.image[1, ..., 2], rtol=1e-6)

    def test_what_nobody_saw_is_in_the_frame_of_the_model(self, tmp_path):
        samples = make_samples(2)
        with fits.open(write_samples(samples, observe(samples), tmp_path)[1]) as file:
            assert [hdu.name for hdu in file[1:]] == ["IMAGE", "MODEL_FRAME", "CATALOGUE"]
            assert file["IMAGE"].header["MSIGMA"] == 0.7

    def test_pictures_stay_bytes(self, tmp_path):
        samples = make_samples(1, size=8, bands=("R", "G", "B"), unit="", model_sigma=0.0)
        samples.image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
        stamps = observe(samples)
        with fits.open(write_samples(samples, stamps, tmp_path)[1]) as file:
            assert file["IMAGE"].header["BITPIX"] == file["MODEL_FRAME"].header["BITPIX"] == 8
            np.testing.assert_array_equal(file["IMAGE"].data[0, 1], samples.image[0, ..., 1])
            assert "MSIGMA" not in file["MODEL_FRAME"].header

    def test_a_page_has_one_stretch_and_says_what_was_asked(self):
        samples = make_samples(5)
        samples.image = samples.image / samples.image.max() * np.array([1, 3, 10, 30, 100])[:, None, None, None]
        samples.condition["mag"] = np.full(5, 22.0)
        figure = page(observe(samples), samples.condition)
        pictures = [axis.images[0].get_array() for axis in figure.axes if axis.get_visible()]
        assert len(pictures) == 5
        brightness = [picture.max() for picture in pictures]
        # The brightest of all may be white as well.
        assert brightness[:4] == sorted(set(brightness[:4]))
        # i is three times g: the galaxies are red.
        middle = pictures[3][16, 16].astype(int)
        assert middle[0] > middle[1] > middle[2]
        assert "mag 22" in figure.get_suptitle()
        assert "t_type" not in figure.get_suptitle()
        assert "t_type 0.5" in [text.get_text() for text in figure.axes[0].texts]


class StubModel:
    columns = ("t_type", "mag", "kind")
    condition_ranges = {"t_type": (-5.0, 10.0), "mag": (18.0, 25.0), "kind": ["spiral", "elliptical"]}
    bands, survey, unit, pixel_scale = ("g", "r", "i"), "LSST", "nJy", 0.2

    def sample(self, n, condition=None, seed=0, **options):
        self.asked = {"condition": condition, "seed": seed, **options}
        return make_samples(n, condition={k: np.broadcast_to(v, n) for k, v in (condition or {}).items()})


class TestConditions:
    def test_values_ranges_and_classes(self, caplog):
        texts = ["t_type=5", "mag = 22:24", "kind=spiral"]
        np.testing.assert_array_equal(*(parse_conditions([f"mag=22{by}24"], StubModel(), 9)["mag"] for by in ":,"))
        found = parse_conditions(texts, StubModel(), n=200, seed=1)
        assert found["t_type"] == 5.0
        assert found["kind"] == "spiral"
        assert found["mag"].shape == (200,)
        assert 22 <= found["mag"].min() < 22.2 < 23.8 < found["mag"].max() <= 24
        # The draws of a column do not depend on what else is asked.
        np.testing.assert_array_equal(found["mag"], parse_conditions(texts[1:2], StubModel(), 200, 1)["mag"])
        assert not np.array_equal(found["mag"], parse_conditions(texts, StubModel(), 200, 2)["mag"])
        assert not caplog.records

    @pytest.mark.parametrize(
        ("asked", "said"),
        [("21:23", "below 21.02,"), ("22:27", "above 26.47,"), ("20:27", "below 21.02 and above 26.47,")],
    )
    def test_the_end_that_is_outside_is_named_as_one_that_is_inside(self, asked, said, caplog):
        model = StubModel()
        model.condition_ranges = {"mag": (21.0174, 26.4709)}
        parse_conditions([f"mag={asked}"], model, n=2)
        assert f"mag={asked} goes {said} outside what the model was trained on" in caplog.text
        caplog.clear()
        parse_conditions(["mag=21.02:26.47"], model, n=2)
        assert not caplog.records

    def test_outside_the_training_is_said(self, caplog):
        assert parse_conditions(["mag=24:26"], StubModel(), n=2)["mag"].shape == (2,)
        assert parse_conditions(["t_type=-7"], StubModel())["t_type"] == -7
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
        assert "mag=24:26 goes above 25, outside what the model was trained on, 18 to 25" in caplog.text
        caplog.clear()
        model = StubModel()
        model.condition_ranges = {"mag": (18.0, 25.0)}
        # Its ends are inside; of a column of which no range is known nothing is said.
        assert parse_conditions(["mag=18:25"], model, n=3)["mag"].shape == (3,)
        assert parse_conditions(["t_type=1e5"], model) == {"t_type": 1e5}
        assert not caplog.records

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("t_type", "'t_type' cannot be read"),
            ("t_type=", "cannot be read"),
            ("t_type=late", "'t_type=late' cannot be read"),
            ("mag=24:22", "low:high"),
            ("mag=1:2:3", "low:high"),
            ("mag=nan", "cannot be read"),
            ("t_typ=5", "did you mean 't_type'.*known are kind, mag, t_type"),
            ("kind=disc", "known are spiral, elliptical"),
        ],
    )
    def test_refused(self, text, message):
        with pytest.raises((InputError, UnknownNameError), match=message):
            parse_conditions([text], StubModel())

    def test_classes_are_asked_for_and_shown_by_name(self):
        card = {"data": {"meta": {"class_names": {"label": {"0": "elliptical", "3": "edge-on"}}}}}
        model = StubModel()
        model.columns, model.condition_ranges = ("label",), {"label": [0.0, 1.0, 3.0]}
        names = class_names(card)
        for text, number in (("label=edge-on", 3), ("label=3", 3), ("label=0.0", 0), ("label=1", 1)):
            assert parse_conditions([text], model, names=names) == {"label": number}
        with pytest.raises(InputError, match=r"no such class; known are 0 \(elliptical\), 1, 3 \(edge-on\)"):
            parse_conditions(["label=spiral"], model, names=names)
        samples = make_samples(3)
        figure = page(observe(samples), {"label": np.array([3.0, 0.0, 1.0])}, names=names)
        assert [axis.texts[0].get_text() for axis in figure.axes[:3]] == ["edge-on", "elliptical", "label 1"]

    def test_columns_over_one_range_have_draws_of_their_own(self):
        model = StubModel()
        model.condition_ranges = {}
        found = parse_conditions(["mag=0:1", "t_type=0:1"], model, n=5)
        assert not np.any(found["mag"] == found["t_type"])
        assert len(set(found["mag"])) == 5

    def test_what_is_a_toy_is_said_in_its_sentences(self):
        limits = "Toys are not meant.\n A\n  Toy of one\nband. Of 3.5 arcsec! Is it a toy? No."
        assert warnings_of({"limits": limits}) == ["A Toy of one band.", "Is it a toy?"]
        assert warnings_of({}) == []

    def test_twice_and_none(self):
        with pytest.raises(InputError, match="'mag' is given twice"):
            parse_conditions(["mag=22", "mag=23"], StubModel())
        model = StubModel()
        model.columns = ()
        with pytest.raises(InputError, match="no conditions"):
            parse_conditions(["mag=22"], model)


class TestCommand:
    @pytest.fixture
    def model(self, monkeypatch):
        model = StubModel()
        monkeypatch.setattr("galzoo.presets.load_for", lambda task, name: model)
        card = {"limits": "Single galaxies. A toy for spirals: they have no arms."}
        monkeypatch.setattr("galzoo.presets.load_card", lambda name, metrics=True: card)
        return model

    @pytest.fixture
    def run(self):
        app = typer.Typer()
        app.callback()(lambda: None)
        app.command("sample")(command.sample)
        return lambda *arguments: app(["sample", *map(str, arguments)], standalone_mode=False)

    def test_a_prior_is_asked_for_no_more_than_the_user_asks(self, model, run, tmp_path):
        # Priors over pixels have no k most probable codes.
        run("stub", "-n", 4, "-o", tmp_path / "out")
        assert not {"top_k", "temperature", "guidance"} & set(model.asked)

    def test_writes_what_was_asked(self, model, run, tmp_path, capsys):
        out = tmp_path / "out"
        run("stub", "-n", 4, "-c", "t_type=5", "-c", "mag=22:23", "--survey", "HSC", "--noise", "--bands", "r,i",
            "--size", 30, "--seed", 3, "--top-k", 9, "--temperature", 0.9, "-o", out)  # fmt: skip
        assert model.asked["condition"]["t_type"] == 5
        assert model.asked["condition"]["mag"].shape == (4,)
        assert (model.asked["seed"], model.asked["top_k"], model.asked["temperature"]) == (3, 9, 0.9)
        stamps = Stamps.load(out / "stamps.h5")
        assert stamps.image.shape == (4, 30, 30, 2)
        assert (stamps.survey, stamps.bands, stamps.meta["noise"]) == ("HSC", ("r", "i"), True)
        assert list(stamps.catalogue["t_type"]) == [5] * 4
        written = capsys.readouterr().out
        assert str(out / "samples.png") in written
        assert "A toy for spirals: they have no arms." in written
        assert "Single galaxies" not in written

    def test_every_option_acts(self, model, run, tmp_path):
        psf = tmp_path / "psf.fits"
        fits.PrimaryHDU(blob(31, 2.5), fits.Header({"PIXSCALE": 0.168})).writeto(psf)
        found = {}
        for name, more in {"first": (), "deep": ("--depth", 4), "other": ("--seed", 4), "own": ("--psf", psf)}.items():
            run("stub", "-n", 2, "-c", "mag=22:23", "--survey", "HSC", "--noise", "--guidance", 2.5, "--batch-size", 7,
                "-o", tmp_path / name, *more)  # fmt: skip
            assert (model.asked["guidance"], model.asked["batch_size"], model.asked["progress"]) == (2.5, 7, True)
            found[name] = Stamps.load(tmp_path / name / "stamps.h5"), model.asked["condition"]["mag"]
        first, magnitudes = found["first"]
        np.testing.assert_allclose(found["deep"][0].variance, first.variance / 4, rtol=1e-5)
        np.testing.assert_array_equal(found["deep"][1], magnitudes)
        assert not np.array_equal(found["other"][1], magnitudes)
        # Of the stub's galaxies, which are the same, the noise is another.
        assert not np.array_equal(found["other"][0].image, first.image)
        assert fwhm_of(found["own"][0].psf[0, ..., 0]) == pytest.approx(2.3548 * 2.5, rel=0.01)

    def test_classes_are_asked_for_by_their_names_on_the_card(self, model, run, tmp_path, monkeypatch):
        model.columns, model.condition_ranges = ("label",), {"label": [0.0, 3.0]}
        card = {"data": {"meta": {"class_names": {"label": {"3": "edge-on"}}}}}
        monkeypatch.setattr("galzoo.presets.load_card", lambda name, metrics=True: card)
        shown = []
        monkeypatch.setattr("galzoo.viz.page.page", lambda *_, names: shown.append(names) or page(*_, names=names))
        run("stub", "-n", 1, "-c", "label=edge-on", "-o", tmp_path / "out")
        assert model.asked["condition"]["label"] == 3
        assert shown == [{"label": {3.0: "edge-on"}}]

    def test_says_of_which_band_a_magnitude_is(self, model, run, tmp_path, capsys):
        model.flux_column, model.flux_band = "mag", "r"
        run("stub", "-n", 2, "-c", "mag = 22", "-o", tmp_path / "out")
        assert "note: mag is the AB magnitude in r\n" in capsys.readouterr().out
        run("stub", "-n", 2, "-c", "t_type=5", "-o", tmp_path / "out")
        assert "AB magnitude" not in capsys.readouterr().out

    def test_refuses_before_it_samples(self, model, run):
        for arguments, message in (
            (("--noise",), "noise is that of a survey"),
            (("--survey", "HSCC"), "did you mean 'HSC'"),
            (("--survey", "HSC", "--bands", "u"), "band of HSC 'u'"),
            (("--temperature", 0), "--temperature is 0"),
            (("--survey", "HSC", "--depth", 0), "--depth is 0"),
            (("--survey", "HSC", "--depth", 2), "--depth is how deep the noise is; add --noise"),
        ):
            with pytest.raises((InputError, UnknownNameError), match=message):
                run("stub", *arguments)
        for number, limit in ((0, "1"), (command.MOST + 1, "100000")):
            with pytest.raises(Exception, match=limit) as refused:
                run("stub", "-n", number)
            assert "--number" in refused.value.format_message()
        assert not hasattr(model, "asked")

    def test_an_output_that_is_a_file_is_refused_before_it_samples(self, model, run, tmp_path):
        (tmp_path / "out").write_text("")
        with pytest.raises(InputError, match="out"):
            run("stub", "-n", 1, "-o", tmp_path / "out")
        assert not hasattr(model, "asked")

    def test_a_model_that_is_no_prior(self, run):
        with pytest.raises(InputError, match="vqvae_lsst: models of vqvae do not sample; presets that do: pixelcnn"):
            run("vqvae_lsst")


def test_samples_draw_themselves_with_their_conditions():
    figure = make_samples(n=3).plot(title="three")
    texts = [text.get_text() for text in (*figure.texts, *(text for axis in figure.axes for text in axis.texts))]
    assert sum("t_type" in text for text in texts) == 3
