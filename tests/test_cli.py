"""The commands, as a user meets them: what they write, and that every mistake is one line and exit code 2."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from astropy.io import fits

from galzoo import cli
from galzoo.evaluate.report import format_value
from galzoo.presets import list_presets, load_card
from tests.conftest import make_stamps

ROOT = Path(__file__).parents[1]
SMALL = ("--set", "stages.0.epochs=1", "--set", "stages.0.steps_per_epoch=2")


@pytest.fixture
def galzoo(monkeypatch, capsys):
    """Run `galzoo ARGUMENTS` in this process and return its exit code, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["galzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def fails(galzoo):
    """Run a command that must fail as a user can mend, and return its one line."""

    def run(*arguments):
        code, _, err = galzoo(*arguments)
        assert code == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of the smoke recipe, its model not worth using, and the stamps that it was trained on."""
    folder = tmp_path_factory.mktemp("run")
    make_stamps(n=80, size=24).save(folder / "stamps.h5")
    arguments = ["train", "vqvae", "--recipe", "smoke", "--set", f"data.path={folder / 'stamps.h5'}", *SMALL]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["galzoo", *arguments, "--output", str(folder / "run")])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    return folder


def imported_by(*arguments):
    """Return the heavy packages that a command imports in a fresh interpreter."""
    program = (
        "import sys, json\n"
        "from galzoo.cli import main\n"
        "sys.argv = ['galzoo', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = ('keras', 'tensorflow', 'jax', 'torch', 'astropy', 'galsim', 'matplotlib')\n"
        "sys.stderr.write(json.dumps([name for name in heavy if name in sys.modules]))\n"
    )
    found = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=ROOT)
    return found.stdout, json.loads(found.stderr.splitlines()[-1])


@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("train", "--help"), ("--version",)])
def test_help_and_lists_import_nothing_heavy(arguments):
    out, heavy = imported_by(*arguments)
    assert heavy == []
    assert "galzoo" in out or "vqvae" in out


def test_a_recipe_is_checked_without_a_back_end():
    out, heavy = imported_by("train", "vqvae", "--recipe", "smoke", "--dry-run", "--json", "--set", "runtime.seed=7")
    assert not {"keras", "tensorflow", "jax", "torch"} & set(heavy)
    recipe = json.loads(out)
    assert recipe["runtime"]["seed"] == 7
    assert recipe["stages"][0]["clip_norm"] is None


@pytest.mark.parametrize("command", ["reconstruct", "embed"])
def test_wrong_bands_are_said_before_the_back_end_is_loaded(command, stamp_file, tmp_path):
    _, heavy = imported_by(command, "vqvae_lsst", str(stamp_file), "-o", str(tmp_path / "out"))
    assert "astropy" in heavy
    assert not {"keras", "tensorflow", "jax", "torch"} & set(heavy)
    assert not (tmp_path / "out").exists()


class TestWithoutData:
    def test_list(self, galzoo):
        code, out, _ = galzoo("list", "--json")
        assert code == 0
        assert "smoke" in json.loads(out)["families"]["vqvae"]["recipes"]
        assert "smoke" in galzoo("list")[1]

    def test_show(self, galzoo, fails):
        code, out, _ = galzoo("show", "vqvae")
        assert code == 0
        assert "tasks: reconstruct, embed, classify\n" in out
        assert "smoke" in out.partition("recipes:")[2].partition("\n  presets:")[0]
        assert "vqvae_lsst" in out.partition("presets:")[2].partition("\n  trains on:")[0]
        assert yaml.safe_load(galzoo("show", "vqvae", "--full")[1])["tasks"] == ["reconstruct", "embed", "classify"]
        assert "did you mean 'vqvae'" in fails("show", "vqvea")

    def test_show_a_preset_fits_a_screen_and_full_has_all(self, galzoo):
        for name in list_presets():
            out = galzoo("show", name)[1]
            assert out.count("\n") <= 40
            assert max(map(len, out.splitlines())) <= 100
            card = load_card(name)
            assert f"{card['training']['n_train']} images" in out
            assert ", ".join(card["data"]["bands"]) in out
            joined = " ".join(out.split())
            # Numbers as on the page: to the two digits that their errors allow.
            shown = {title: value for title, value in card["headline"].items() if value is not None}
            assert all(f"{title}: {format_value(value)}" in joined for title, value in shown.items())
        name = "vqvae_sdss_rgb"
        assert yaml.safe_load(galzoo("show", name, "--full")[1]) == load_card(name)

    def test_show_says_of_which_band_a_magnitude_is(self, galzoo):
        assert "conditions: mag (AB in g), half_light_radius, redshift\n" in galzoo("show", "pixelcnn_lsst")[1]
        assert "conditions: mag (AB in i), half_light_radius\n" in galzoo("show", "score_prior_hsc_i")[1]
        assert "conditions: t_type, label\n" in galzoo("show", "pixelcnn_sdss_rgb")[1]
        assert "conditions" not in galzoo("show", "vqvae_lsst")[1]

    def test_cite(self, galzoo, fails):
        from galzoo.cite import parse

        entries = parse(galzoo("cite", "vae_deblender_lsst")[1])
        assert set(entries) == {"galzoo", "galzoo_vae_deblender_lsst", "arcelin2021", "biswas2025", "dinh2017"}
        assert load_card("vae_deblender_lsst")["sha256"] in entries["galzoo_vae_deblender_lsst"]["note"]
        assert entries["arcelin2021"]["eprint"] == "2005.12039"
        assert "did you mean" in fails("cite", "vqvea")

    def test_no_command_shows_the_help(self, galzoo):
        code, _, err = galzoo()
        assert code == 2
        assert "reconstruct" in err

    def test_dry_run_shows_recipe_and_model(self, galzoo):
        code, out, _ = galzoo("train", "vqvae", "--recipe", "smoke", "--dry-run")
        assert code == 0
        assert "codebook_size: 32" in out
        assert "Total params" in out

    def test_wrong_command_lines(self, fails):
        assert "'recnstruct'" in fails("recnstruct")
        assert "--outptu" in fails("train", "vqvae", "--outptu", "x")
        assert "galzoo reconstruct --help" in fails("reconstruct")
        assert "--dry-run" in fails("train", "vqvae", "--json")
        assert "--batch-size" in fails("reconstruct", "x", "y.h5", "--batch-size", "0")

    def test_unknown_names(self, fails, stamp_file):
        assert "did you mean 'vqvae'" in fails("train", "vqvea")
        assert "did you mean 'smoke'" in fails("train", "vqvae", "--recipe", "smok")
        assert "no/such.yaml" in fails("train", "vqvae", "--recipe", "no/such.yaml")
        assert "unknown preset 'nothing'" in fails("reconstruct", "nothing", stamp_file)
        assert "known are candels, cosmos" in fails("data", "make", "nothing", "-o", "x.h5")

    def test_wrong_recipes(self, fails, tmp_path):
        dry = ("train", "vqvae", "--recipe", "smoke", "--dry-run")
        line = fails(*dry, "--set", "stages.0.epoch=3")
        assert "'stages.0.epoch'" in line
        assert "did you mean 'epochs'" in line
        assert "did you mean 'runtime'" in fails(*dry, "--set", "runtme.seed=3")
        assert "did you mean 'codebook_size'" in fails(*dry, "--set", "model.codebok_size=3")
        assert "stages.0.epochs" in fails(*dry, "--set", "stages.0.epochs=0")
        assert "'adm'" in fails(*dry, "--set", "stages.0.optimizer=adm")
        assert "section.key=value" in fails(*dry, "--set", "epochs")
        assert "'3' is no index" in fails(*dry, "--set", "stages.3.epochs=1")
        assert "below a plain value" in fails(*dry, "--set", "family.x=1")
        assert "not valid YAML" in fails(*dry, "--set", "runtime.seed=[1")
        assert "cannot be built" in fails(*dry, "--set", "model.hidden=many")
        assert "use 'ema'" in fails(*dry, "--set", "model.quantizer=nearest")
        (tmp_path / "broken.yaml").write_text("family: [vqvae")
        assert "broken.yaml" in fails("train", "vqvae", "--recipe", tmp_path / "broken.yaml")
        (tmp_path / "empty.yaml").write_text("family: vqvae\ndata: {path: x.h5}\nstages: []\n")
        assert "stages" in fails("train", "vqvae", "--recipe", tmp_path / "empty.yaml")
        stages = "stages: [{epochs: 1, steps_per_epoch: 1}]"
        (tmp_path / "other.yaml").write_text(f"family: pixelcnn\ndata: {{path: x.h5}}\n{stages}\n")
        assert "'pixelcnn'" in fails("train", "vqvae", "--recipe", tmp_path / "other.yaml")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("data", "cutouts", "none.fits", "--detect", "-o"), "x.fits"),
        (("data", "make", "simulated", "-o"), "x.FITS"),
        (("simulate", "scenes", "-o"), "x.fits.gz"),
        (("simulate", "scenes", "-o", "x.h5", "--picture"), "x.fits"),
        (("detect", "none.fits", "-o"), "x.ecsv"),
        (("reconstruct", "vqvae_lsst", "none.h5", "-o"), "x.h5"),
        (("evaluate", "vqvae_lsst", "-o"), "x.json"),
        (("train", "vqvae", "-o"), "x.keras"),
    ],
)
def test_names_of_other_formats_are_refused(arguments, named, fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"{named}: " in (line := fails(*arguments, named))
    assert "name it" in line
    assert not list(tmp_path.iterdir())


class TestStampFiles:
    def test_info_of_fits_draws_nothing(self, galzoo, fails, tmp_path):
        path = tmp_path / "field.fits"
        fits.PrimaryHDU(np.zeros((8, 9))).writeto(path)
        code, out, _ = galzoo("data", "info", path)
        assert code == 0
        assert "9 x 8 pixels" in out
        assert "leave out --picture" in fails("data", "info", path, "--picture", tmp_path / "a.png")
        assert sorted(tmp_path.iterdir()) == [path]

    def test_info_prints_and_draws(self, galzoo, stamp_file):
        code, out, _ = galzoo("data", "info", stamp_file)
        assert code == 0
        assert "80 stamps of 24 x 24 pixels, 0.2 arcsec" in out
        assert "planes: image, variance, truth, psf" in out
        # Nothing is written, or written over, that was not asked for.
        assert list(stamp_file.parent.iterdir()) == [stamp_file]
        galzoo("data", "info", stamp_file, "--picture", stamp_file.with_name("other.png"))
        assert stamp_file.with_name("other.png").read_bytes().startswith(b"\x89PNG")

    def test_missing(self, fails, tmp_path):
        line = fails("data", "info", tmp_path / "none.h5")
        assert "none.h5: no such file" in line
        assert "galzoo data" in line
        train = ("train", "vqvae", "--recipe", "smoke", "--set", f"data.path={tmp_path / 'none.h5'}")
        assert "none.h5: no such file" in fails(*train, "--output", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_truncated(self, fails, stamp_file):
        whole = stamp_file.read_bytes()
        stamp_file.write_bytes(whole[: len(whole) // 2])
        assert "truncated" in fails("data", "info", stamp_file)

    def test_of_another_kind(self, fails, tmp_path):
        (tmp_path / "text.h5").write_text("no HDF5")
        assert "text.h5: not a file of stamps (HDF5)" in fails("data", "info", tmp_path / "text.h5")
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["x"] = 1
        assert "not a galzoo stamp file" in fails("data", "info", tmp_path / "other.h5")

    def test_of_another_version(self, fails, stamp_file):
        with h5py.File(stamp_file, "a") as file:
            file.attrs["version"] = 99
        assert "version 99, this galzoo reads version 1" in fails("data", "info", stamp_file)

    def test_cutouts_needs_a_catalogue_or_detection(self, fails):
        assert "--catalog FILE or --detect" in fails("data", "cutouts", "x.fits")

    def test_options_of_a_data_set(self, fails, tmp_path):
        assert "key=value" in fails("data", "make", "simulated", "-o", tmp_path / "x.h5", "--set", "n")
        assert list(tmp_path.iterdir()) == []


class TestRun:
    def test_train_leaves_a_run_that_is_not_overwritten(self, run_folder, fails):
        names = {path.name for path in (run_folder / "run").iterdir()}
        assert {"recipe.json", "history.csv", "state.h5", "model.keras", "training.json", "pictures"} <= names
        data = ("--set", f"data.path={run_folder / 'stamps.h5'}", *SMALL)
        again = ("train", "vqvae", "--recipe", "smoke", *data, "--output", run_folder / "run")
        assert "--resume" in fails(*again)
        other = ("--set", "stages.0.batch_size=8")
        assert "another 'stages' section" in fails(*again, *other, "--resume")

    def test_resume_reads_what_the_run_was_started_with_and_checks_first(self, run_folder, galzoo, fails, tmp_path):
        run = shutil.copytree(run_folder / "run", tmp_path / "run")
        (run / "model.keras").unlink()
        code, out, _ = galzoo("train", "vqvae", "--recipe", "smoke", "--output", run, "--resume")
        assert code == 0
        assert (run / "model.keras").is_file()
        assert str(run_folder / "stamps.h5") in out

        def simulates(*_, **__):
            raise AssertionError("data are made before the run is looked at")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("galzoo.data.build_dataset.make_named", simulates)
            patch.setenv("GALZOO_CACHE", str(tmp_path / "cache"))
            changed = ("--set", "data.path=null", "--set", "data.name=simulated")
            arguments = ("train", "vqvae", "--recipe", "smoke", "--output")
            assert "another 'data' section" in fails(*arguments, run, "--resume", *changed)
            assert "add --resume" in fails(*arguments, run, *changed)
            assert "no run to resume" in fails(*arguments, tmp_path / "none", "--resume", *changed)

    def test_reconstruct_can_be_read_back(self, run_folder, galzoo, tmp_path):
        from astropy import units as u
        from astropy.io import fits
        from astropy.table import QTable

        from galzoo import Stamps

        out = tmp_path / "out"
        code, printed, _ = galzoo("reconstruct", run_folder / "run", run_folder / "stamps.h5", "-o", out, "--limit", 5)
        assert code == 0
        assert str(out / "catalogue.ecsv") in printed.replace("\n", "")
        given = Stamps.load(run_folder / "stamps.h5", slice(5))
        with fits.open(out / "reconstruction.fits") as file:
            assert file[0].header["PIXSCALE"] == 0.2
            assert [hdu.name for hdu in file[1:]] == ["IMAGE", "RECONSTRUCTION", "DECONVOLVED", "CODES"]
            for name in ("IMAGE", "RECONSTRUCTION", "DECONVOLVED"):
                assert file[name].data.shape == (5, 1, 24, 24)
                assert file[name].header["BUNIT"] == "nJy"
                assert file[name].header["PIXSCALE"] == 0.2
            assert file["CODES"].data.shape == (5, 6, 6)
            np.testing.assert_array_equal(file["IMAGE"].data[:, 0], given.image[..., 0])
            deconvolved = file["DECONVOLVED"].data.astype(float)
        table = QTable.read(out / "catalogue.ecsv")
        assert list(table["id"]) == list(given.catalogue["id"])
        share = table["model_flux_r"].to_value(u.nJy) / deconvolved.sum(axis=(1, 2, 3))
        assert np.all((share > 0.5) & (share < 1 + 1e-5))
        assert np.all(table["chi2"] > 0)
        stamps = Stamps.load(out / "deconvolved.h5")
        assert stamps.shape == (24, 24)
        assert stamps.unit == "nJy"
        np.testing.assert_array_equal(stamps.image[..., 0], deconvolved[:, 0].astype("float32"))
        assert (out / "panel.png").read_bytes().startswith(b"\x89PNG")

    def test_reconstruct_refuses(self, run_folder, fails, tmp_path):
        make_stamps(n=3, bands=("g", "r", "i")).save(tmp_path / "gri.h5")
        make_stamps(n=3)[:0].save(tmp_path / "empty.h5")
        run = run_folder / "run"
        line = fails("reconstruct", run, tmp_path / "gri.h5", "-o", tmp_path / "out")
        assert "the bands g, r, i, the model takes r" in line
        assert "empty" in fails("reconstruct", run, tmp_path / "empty.h5", "-o", tmp_path / "out")
        assert "--limit is 0" in fails("reconstruct", run, tmp_path / "gri.h5", "--limit", 0)
        assert not (tmp_path / "out").exists()
        assert "empty.h5" in fails("data", "info", tmp_path / "empty.h5", "--picture", tmp_path / "a.png")

    def test_disk_full_leaves_no_half_file(self, run_folder, fails, tmp_path, monkeypatch):
        from astropy.io import fits

        def full(self, path, **_):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(fits.HDUList, "writeto", full)
        stamps = run_folder / "stamps.h5"
        line = fails("reconstruct", run_folder / "run", stamps, "-o", tmp_path / "out", "--limit", 2)
        assert "No space left on device" in line
        assert list((tmp_path / "out").iterdir()) == []

    def test_evaluate(self, run_folder, galzoo, fails, tmp_path):
        stamps, run = run_folder / "stamps.h5", run_folder / "run"
        code, out, _ = galzoo("evaluate", run, "--data", stamps, "-o", tmp_path / "out", "--limit", 6)
        assert code == 0
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert "codebook" in metrics
        assert "<html" in (tmp_path / "out" / "report.html").read_text()
        assert str(tmp_path / "out" / "report.html") in out
        assert "did you mean 'reconstruction'" in fails("evaluate", run, "--data", stamps, "--suite", "reconstructoin")

    def test_evaluate_without_held_out_stamps(self, run_folder, fails, tmp_path):
        stamps = make_stamps(n=4)
        stamps.catalogue["split"] = ["train"] * 4
        stamps.save(tmp_path / "train.h5")
        assert "no stamp in split 'test'" in fails("evaluate", run_folder / "run", "--data", tmp_path / "train.h5")

    def test_altered_and_unfinished_models(self, run_folder, fails, tmp_path):
        stamps = run_folder / "stamps.h5"
        preset = tmp_path / "preset"
        preset.mkdir()
        shutil.copy(run_folder / "run" / "model.keras", preset)
        assert "neither card.yaml nor recipe.json" in fails("reconstruct", preset, stamps)
        (preset / "card.yaml").write_text(yaml.safe_dump({"family": "vqvae", "sha256": "0" * 64}))
        assert "sha256" in fails("reconstruct", preset, stamps)
        (preset / "card.yaml").write_text("family: [")
        assert "card.yaml: not valid YAML" in fails("reconstruct", preset, stamps)
        (preset / "card.yaml").write_text(yaml.safe_dump({"family": "vqvae"}))
        (preset / "model.keras").write_bytes((preset / "model.keras").read_bytes()[:500])
        assert "model.keras: cannot be loaded" in fails("reconstruct", preset, stamps)
        (preset / "model.keras").unlink()
        assert "has no model.keras" in fails("reconstruct", preset, stamps)
        (run := tmp_path / "killed").mkdir()
        assert "--resume" in fails("reconstruct", run, stamps)


def test_exit_codes_of_the_program(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "galzoo", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    missing = run("data", "info", str(tmp_path / "none.h5"))
    assert missing.returncode == 2
    assert missing.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in missing.stderr
    assert run("--version").returncode == 0


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        ("data.info.describe", ["data", "info", "x.h5"], "interrupted"),
        (
            "recipe.load_recipe",
            ["train", "vqvae"],
            "interrupted; what was finished is kept, and `galzoo train ... --resume` goes on",
        ),
        (
            "tasks.deblend.run.deblend_field",
            ["deblend", "f.fits"],
            "interrupted; what was finished is kept, and the same command goes on",
        ),
    ],
)
def test_ctrl_c_is_130_and_says_how_to_go_on(galzoo, monkeypatch, function, arguments, words):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"galzoo.{function}", interrupted)
    code, _, err = galzoo(*arguments)
    assert code == 130
    assert err.splitlines()[-1] == words


def test_a_bug_keeps_its_traceback(monkeypatch, stamp_file):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("galzoo.data.info.describe", broken)
    monkeypatch.setattr(sys, "argv", ["galzoo", "data", "info", str(stamp_file)])
    with pytest.raises(ZeroDivisionError):
        cli.main()
