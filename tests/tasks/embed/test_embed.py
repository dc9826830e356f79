"""Embedding: features that a turn does not change, maps that keep likeness, scores and codes that can be checked."""

import json
import sys
import types

import numpy as np
import pytest
import typer
from astropy import units as u
from astropy.table import QTable
from typer.testing import CliRunner

from galzoo.errors import InputError, MissingDependencyError, UnknownNameError
from galzoo.field.pieces import check_folder
from galzoo.models.vqvae.model import VQVAE
from galzoo.tasks.embed.command import embed as command
from galzoo.tasks.embed.latent_scores import code_usage, scores, telling
from galzoo.tasks.embed.run import embed, features, write_embedding
from tests.conftest import make_stamps


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    return VQVAE.tiny()


@pytest.fixture(scope="module")
def many():
    stamps = make_stamps(n=60, size=16)
    stamps.catalogue["flux"] = stamps.truth.sum(axis=(1, 2, 3)).astype(float) * u.nJy
    stamps.catalogue["kind"] = np.where(stamps.catalogue["width"] > 2.2, "wide", "narrow")
    stamps.catalogue["gap"] = np.where(np.arange(60) % 5 == 0, np.nan, stamps.catalogue["width"])
    stamps.catalogue["noise"] = np.random.default_rng(5).normal(size=60)
    return stamps


@pytest.fixture(scope="module")
def embedding(model, many):
    return embed(model, many, "pca")


class TestFeatures:
    @pytest.mark.parametrize("size", [16, 18])
    def test_turns_and_mirrors_change_nothing(self, model, size):
        """Also where cells do not divide the stamp, and with a PSF that is not round."""
        stamps = make_stamps(n=3, size=size)
        stamps.image[:, 3:6, 2:12] += 30.0
        stamps.psf = stamps.psf * np.linspace(0.5, 1.5, stamps.psf.shape[2])[None, None, :, None]
        turned = make_stamps(n=3, size=size)
        turned.image = np.rot90(stamps.image, axes=(1, 2))[:, ::-1].copy()
        turned.psf = np.rot90(stamps.psf, axes=(1, 2))[:, ::-1].copy()
        plain, codes = features(model, stamps)
        other, other_codes = features(model, turned)
        np.testing.assert_allclose(other, plain, atol=1e-5)
        assert np.any(other_codes != codes)
        # Not because nothing matters: another galaxy differs.
        assert np.abs(plain[0] - plain[1]).max() > 1e-2

    def test_codes_are_those_of_the_model_and_batches_do_not_matter(self, model, many):
        from galzoo.data.batches import stamps_batch

        found, codes = features(model, many, batch_size=7)
        np.testing.assert_array_equal(codes, np.asarray(model(stamps_batch(many, slice(None)))["codes"]))
        np.testing.assert_allclose(found, features(model, many)[0], atol=1e-5)

    def test_unit_does_not_matter(self, model, many):
        scaled = make_stamps(n=60, size=16)
        scaled.image, scaled.variance = scaled.image * 100, scaled.variance * 1e4
        np.testing.assert_allclose(features(model, scaled)[0], features(model, many)[0], atol=1e-3)

    def test_a_prior_is_asked_for_its_codec(self, model, many):
        prior = types.SimpleNamespace(codec=model)
        np.testing.assert_array_equal(features(prior, many[:4])[0], features(model, many[:4])[0])

    def test_what_cannot_be_embedded_is_refused(self, model, many):
        with pytest.raises(InputError, match="neither codes nor vectors"):
            features(object(), many)
        with pytest.raises(InputError, match="the bands g, r, i, the model takes r"):
            features(model, make_stamps(n=4, bands=("g", "r", "i")))
        with pytest.raises(InputError, match="empty"):
            features(model, many[:0])
        with pytest.raises(InputError, match="no maps of several levels"):
            features(model, many, depth="levels")
        with pytest.raises(UnknownNameError, match="unknown depth 'deep'"):
            features(model, many, depth="deep")


class TestEmbed:
    def test_pca_is_the_projection_with_most_variance(self, embedding):
        centred = embedding.features - embedding.features.mean(axis=0)
        values = np.linalg.svd(centred, compute_uv=False) ** 2
        np.testing.assert_allclose(embedding.explained_variance, values[:2] / values.sum(), rtol=1e-6)
        np.testing.assert_allclose((embedding.xy**2).sum(axis=0), values[:2], rtol=1e-6)

    def test_tsne_keeps_neighbours_and_repeats(self, model, many):
        first, second = (embed(model, many, "tsne", seed=4, perplexity=8) for _ in range(2))
        np.testing.assert_array_equal(first.xy, second.xy)
        assert first.perplexity == 8
        assert not first.notes

        def nearest(x):
            distance = np.linalg.norm(x[:, None] - x, axis=-1) + 1e9 * np.eye(len(x))
            return np.argsort(distance, axis=1)[:, :5]

        kept = np.mean([len(set(a) & set(b)) for a, b in zip(nearest(first.features), nearest(first.xy), strict=True)])
        assert kept > 2 * 5 * 5 / 59

    @pytest.mark.parametrize("n", [3, 10])
    def test_few_stamps_lower_the_perplexity_and_say_so(self, model, many, n):
        result = embed(model, many[:n])
        assert result.xy.shape == (n, 2)
        assert np.isfinite(result.xy).all()
        assert result.perplexity == max(1.0, (n - 1) / 3)
        assert f"there are only {n} stamps" in result.notes[0]

    def test_bad_requests(self, model, many):
        with pytest.raises(InputError, match="2 stamps; a map needs at least 3"):
            embed(model, many[:2])
        with pytest.raises(UnknownNameError, match="did you mean 'tsne'"):
            embed(model, many, "tsnee")
        with pytest.raises(InputError, match="perplexity is nan"):
            embed(model, many, perplexity=float("nan"))
        with pytest.raises(InputError, match="all stamps alike"):
            embed(model, many[np.zeros(8, int)])

    def test_umap_is_asked_for_or_used(self, model, many, monkeypatch):
        monkeypatch.setitem(sys.modules, "umap", None)
        with pytest.raises(MissingDependencyError, match="pip install umap-learn"):
            embed(model, many, "umap")
        seen = {}

        class UMAP:
            def __init__(self, **options):
                seen.update(options)

            def fit_transform(self, parts):
                return parts[:, :2].astype(np.float32)

        monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
        result = embed(model, many[:12], "umap", seed=3)
        assert seen["n_neighbors"] == 11
        assert seen["random_state"] == 3
        assert result.perplexity == 11
        assert "11" in result.notes[0]

    def test_patches_are_what_the_decoder_makes(self, model, many, embedding):
        """The middle of a patch is the mean, on the asinh scale, of the decoded cells where the code stands."""
        count = np.bincount(embedding.codes.ravel(), minlength=32)
        assert np.isnan(embedding.patches[count == 0]).all()
        assert np.isfinite(embedding.patches[count > 0]).all()
        image = np.asarray(model.decode(embedding.codes, np.ones((60, 1, 1, 1), "float32")))
        code = embedding.codes[0, 1, 2]
        stamp, y, x = np.nonzero(embedding.codes == code)
        cells = np.arcsinh(image.reshape(60, 4, 4, 4, 4, 1).swapaxes(2, 3)[stamp, y, x])
        np.testing.assert_allclose(embedding.patches[code, 4:8, 4:8], np.sinh(cells.mean(axis=0)), rtol=1e-4)
        np.testing.assert_allclose(embedding.noise, 1.0, rtol=1e-5)


class TestCodeUsage:
    def test_counts_places_and_galaxies(self):
        codes = np.zeros((3, 9, 9), int)
        codes[0, 4, 4], codes[1, 4, 4], codes[1, 0, 0] = 1, 1, 2
        columns = {"size": np.array([1.0, 3.0, np.nan]) * u.arcsec, "type": np.array(["a", "b", "b"])}
        table = code_usage(codes, columns, 4, near=2.0)
        assert table["count"].tolist() == [240, 2, 1, 0]
        assert table["share"][1] == pytest.approx(2 / 243)
        assert table["stamps"].tolist() == [3, 2, 1, 0]
        np.testing.assert_allclose(table["radius"][1:], [0.0, np.hypot(4, 4), np.nan])
        np.testing.assert_allclose(table["share_near"][1:], [1.0, 0.0, np.nan])
        assert table["stamps_near"].tolist() == [3, 2, 0, 0]
        assert table["median_size"].unit == u.arcsec
        np.testing.assert_allclose(table["median_size"].value, [2.0, 2.0, np.nan, np.nan])
        assert table["commonest_type"].tolist() == ["b", "a", "", ""]

    def test_bad_requests(self):
        codes = np.zeros((3, 4, 4), int)
        with pytest.raises(InputError, match=r"must be \(n, y, x\)"):
            code_usage(codes[0], {}, 4)
        with pytest.raises(InputError, match="codebook has 0 to 3"):
            code_usage(codes + 4, {}, 4)
        with pytest.raises(InputError, match="'a' has shape"):
            code_usage(codes, {"a": np.zeros(2)}, 4)


class TestScores:
    def make(self, n=200):
        random = np.random.default_rng(0)
        described = random.normal(size=(n, 2))
        table = QTable({"told": described[:, 0] + 3, "unknown": random.normal(size=n), "same": np.ones(n)})
        table["gap"] = np.where(np.arange(n) % 4 == 0, np.nan, described[:, 1])
        table["twice"] = 5 - 2 * table["told"]
        table["steep"] = 10.0 ** (2 * described[:, 0])
        table["side"] = np.where(described[:, 0] > 0, "left", "right")
        table["name"] = [f"g{row}" for row in range(n)]
        table["objid"] = 10**12 + np.arange(n)
        table["few"] = np.where(np.arange(n) < 20, 1.0 * np.arange(n), np.nan)
        table["pair"] = described
        return described, table

    def test_what_is_there_is_found_and_what_is_not_is_not(self):
        described, table = self.make()
        known = {row["column"]: row for row in scores(described, described, table)}
        assert set(known) == {"told", "unknown", "gap", "twice", "steep", "side"}
        assert known["told"]["r2"] > 0.9
        assert known["told"]["axis_1"] == pytest.approx(1.0)
        assert known["twice"]["axis_1"] == pytest.approx(-1.0)
        assert abs(known["told"]["axis_2"]) < 0.3
        assert abs(known["unknown"]["r2"]) < 0.25
        assert known["gap"]["n"] == 150
        assert known["gap"]["r2"] > 0.9
        assert known["steep"]["kind"] == "log10"
        assert known["steep"]["r2"] == pytest.approx(known["told"]["r2"], abs=1e-6)
        assert known["side"]["kind"] == "category"
        assert 0.6 < known["side"]["r2"] <= 1
        assert known["side"]["axis_1"] is None
        assert 0 < known["told"]["r2_error"] < 0.1

    def test_stamps_of_one_galaxy_tell_nothing_of_each_other(self):
        """Fifty galaxies, each four times in one place: what a place says is a number of the galaxy's own."""
        random = np.random.default_rng(0)
        galaxy = np.repeat(np.arange(50), 4)
        described = random.normal(size=(50, 2))[galaxy]
        table = QTable({"own": random.normal(size=50)[galaxy]})
        (known,) = scores(described, described, table)
        (honest,) = scores(described, described, table, parents=galaxy)
        assert known["r2"] > 0.6
        assert honest["r2"] < 0.2
        assert honest["r2_error"] > 1.5 * known["r2_error"]

    def test_best_columns_that_differ_are_chosen(self):
        described, table = self.make()
        chosen = telling(scores(described, described, table), table)
        assert len({"told", "twice", "steep"} & set(chosen)) == 1
        assert {"gap", "side"} <= set(chosen)


class TestFiles:
    def test_all_can_be_read_back(self, many, embedding, tmp_path):
        paths = write_embedding(many, embedding, tmp_path, ["width", "kind"], {"model": "tiny"})
        assert check_folder(tmp_path, "embed")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
        table = QTable.read(tmp_path / "embedding.ecsv")
        assert list(table["id"]) == list(many.catalogue["id"])
        np.testing.assert_allclose(np.c_[table["latent_x"], table["latent_y"]], embedding.xy, rtol=1e-6)
        assert table["flux"].unit == u.nJy
        assert "latent_x" not in many.catalogue.colnames
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["model"] == "tiny"
        assert summary["method"] == "pca"
        assert summary["explained_variance"] == pytest.approx(embedding.explained_variance)
        assert summary["codebook"]["stamps"] == 60
        assert 1 <= summary["codebook"]["perplexity_near"] <= 32
        assert summary["knows"] == table.meta["latent_space"]["knows"]
        known = {row["column"]: row for row in summary["knows"]}
        assert known["gap"]["n"] == 48
        # Even untrained, an encoder tells bright galaxies from faint ones.
        assert known["flux"]["r2"] > 0.3 > known["noise"]["r2"]
        usage = QTable.read(tmp_path / "codes.ecsv")
        assert len(usage) == 32
        assert usage["count"].sum() == 60 * 4 * 4
        assert {"median_width", "commonest_kind"} < set(usage.colnames)
        for name in ("embedding.png", "codes.png"):
            assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

    def test_refuses(self, many, embedding, tmp_path):
        with pytest.raises(UnknownNameError, match="unknown column 'widht': did you mean 'width'"):
            write_embedding(many, embedding, tmp_path / "out", ["widht"])
        with pytest.raises(InputError, match="of 60 stamps, given are 5"):
            write_embedding(many[:5], embedding, tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestCommand:
    def run(self, model, monkeypatch, *arguments):
        app = typer.Typer()
        app.callback()(lambda: None)
        app.command("embed")(command)
        monkeypatch.setattr("galzoo.presets.load_for", lambda task, name, *roles: model)
        monkeypatch.setattr("galzoo.presets.card_for", lambda task, name, *roles: {"name": name})
        return CliRunner().invoke(app, ["embed", "tiny", *map(str, arguments)])

    def test_writes_and_says_what_is_told(self, model, many, monkeypatch, tmp_path):
        many.save(tmp_path / "stamps.h5")
        out = tmp_path / "out"
        options = ("-o", out, "--method", "tsne", "--colour", "kind", "--colour", "flux", "--limit", 40)
        result = self.run(model, monkeypatch, tmp_path / "stamps.h5", *options)
        assert result.exit_code == 0, result.output
        assert str(out / "codes.png") in result.output.replace("\n", "")
        assert "perplexity lowered from 30 to 13" in result.output
        assert "R2" in result.output
        ids = list(QTable.read(out / "embedding.ecsv")["id"])
        assert len(ids) == 40
        # Drawn from all of the file, in its order.
        assert ids == sorted(ids, key=lambda name: int(name[1:]))
        assert ids != [f"g{row}" for row in range(40)]

    def test_refuses_before_the_model_runs(self, many, monkeypatch, tmp_path):
        many.save(tmp_path / "stamps.h5")
        result = self.run(None, monkeypatch, tmp_path / "stamps.h5", "-o", tmp_path / "out", "--colour", "mass")
        assert isinstance(result.exception, UnknownNameError)
        assert "unknown column 'mass'" in str(result.exception)
        assert "known are flux, gap, id, kind" in str(result.exception)
        assert "\n" not in str(result.exception)
        result = self.run(None, monkeypatch, tmp_path / "stamps.h5", "--limit", 2)
        assert "--limit is 2" in str(result.exception)
        assert not (tmp_path / "out").exists()
