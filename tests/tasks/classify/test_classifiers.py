"""Classifiers: they learn what is there, say how sure they are, are kept as arrays, and refuse what is no label."""

import json

import numpy as np
import pytest
from astropy.table import QTable, Table

from galzoo.errors import InputError, UnknownNameError
from galzoo.metrics.calibration import expected_calibration_error, top_class
from galzoo.metrics.classification import balanced_accuracy, confusion
from galzoo.tasks.classify.classifiers import KINDS, fit, with_prior
from galzoo.tasks.classify.labels import labels_of, read_labels
from galzoo.tasks.classify.products import column_names
from galzoo.tasks.classify.saved import load_classifier, save_classifier

NAMES = ["a", "b", "c"]


def blobs(n, seed=0, share=(0.6, 0.3, 0.1), apart=2.5):
    """Return three round Gaussian classes in 6 dimensions."""
    random = np.random.default_rng(seed)
    label = random.choice(3, n, p=share)
    x = random.normal(size=(n, 6))
    x[np.arange(n), label] += apart
    return x, label


class TestFit:
    @pytest.mark.parametrize("kind", KINDS)
    def test_probabilities_of_new_objects_are_near_those_of_bayes(self, kind):
        x, label = blobs(300)
        classifier, unseen = fit(x, label, NAMES, kind=kind)
        new, truth = blobs(2000, seed=1)
        log = np.log([0.6, 0.3, 0.1]) + 2.5 * new[:, :3]
        best = np.exp(log) / np.exp(log).sum(axis=1, keepdims=True)
        found = classifier.probability(new)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        accuracy = np.mean(found.argmax(axis=1) == truth)
        assert accuracy > np.mean(best.argmax(axis=1) == truth) - 0.05
        assert expected_calibration_error(*top_class(found, truth)) < 0.06
        # What is said of objects that were learnt from is no better than of new ones.
        assert abs(np.mean(unseen.argmax(axis=1) == label) - accuracy) < 0.06

    def test_objects_are_left_out_whole(self):
        random = np.random.default_rng(2)
        x, label = random.normal(size=(40, 5)), random.integers(0, 2, 40)
        groups = np.repeat(np.arange(40), 5)
        x, label = np.repeat(x, 5, axis=0) + 1e-3 * random.normal(size=(200, 5)), np.repeat(label, 5)
        _, unseen = fit(x, label, ["a", "b"], groups, "knn")
        alone = np.mean(unseen.argmax(axis=1) == label)
        assert alone < 0.7
        _, leaked = fit(x, label, ["a", "b"], None, "knn")
        assert np.mean(leaked.argmax(axis=1) == label) > alone + 0.2

    def test_equal_prior_finds_the_rare_class(self):
        x, label = blobs(400, apart=1.5)
        new, truth = blobs(2000, seed=3, apart=1.5)
        found = {p: fit(x, label, NAMES, prior=p)[0].probability(new).argmax(axis=1) for p in ("labels", "equal")}
        rare = truth == 2
        assert np.mean(found["equal"][rare] == 2) > np.mean(found["labels"][rare] == 2) + 0.1

    def test_prior_is_divided_out(self):
        found = with_prior(np.array([[0.8, 0.2]]), np.array([80, 20]), "equal")
        np.testing.assert_allclose(found, [[0.5, 0.5]])

    @pytest.mark.parametrize("kind", KINDS)
    def test_saved_says_the_same(self, kind, tmp_path):
        x, label = blobs(90)
        classifier, _ = fit(x, label, NAMES, kind=kind)
        save_classifier(classifier, tmp_path, {"encoder": "somebody"})
        loaded, about = load_classifier(tmp_path)
        np.testing.assert_array_equal(loaded.probability(x), classifier.probability(x))
        assert about == {"encoder": "somebody"}
        assert loaded.names == NAMES

    def test_forest_as_arrays_is_that_of_scikit_learn(self):
        from sklearn.ensemble import RandomForestClassifier

        from galzoo.tasks.classify import heads

        x, label = blobs(120)
        arrays = heads.fit("forest", heads.components(x), x, label, 3, {"leaf": 5}, 0)
        same = RandomForestClassifier(200, min_samples_leaf=5, random_state=0).fit(heads.project(arrays, x), label)
        share = (200 * same.predict_proba(heads.project(arrays, x)) + np.bincount(label) / 120) / 201
        np.testing.assert_allclose(np.exp(heads.logits("forest", arrays, x)), share, atol=1e-5)


class TestMetrics:
    def test_by_hand(self):
        label, given = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
        assert confusion(label, given, 2).tolist() == [[2, 1], [0, 1]]
        assert balanced_accuracy(label, given, 2) == pytest.approx((2 / 3 + 1) / 2)
        assert balanced_accuracy(label, given, 5) == pytest.approx((2 / 3 + 1) / 2)

    def test_no_class_is_refused(self):
        with pytest.raises(InputError, match="must be 0 to 1"):
            confusion([0, 2], [0, 1], 2)


class TestLabels:
    def test_names_and_order_are_kept(self):
        labels = labels_of(np.array([10, 2, 2, 10, -1, 3]), unknown=[-1], least=2)
        assert labels.names == ["2", "10"]
        assert labels.number.tolist() == [1, 0, 0, 1, -1, -1]
        assert "class 3 left out: 1 labels" in labels.notes[0]
        assert labels.counts().tolist() == [2, 2]

    def test_unknown_values(self):
        values = np.ma.array([0.0, 1.0, np.nan, 1.0, 0.0, 1.0], mask=[0, 0, 0, 0, 0, 1])
        assert labels_of(values, least=2).number.tolist() == [0, 1, -1, 1, 0, -1]

    def test_rows_are_matched_by_id(self, tmp_path):
        Table({"id": ["g2", "g0", "gx", "g1"], "type": ["E", "S", "E", "E"]}).write(tmp_path / "labels.csv")
        catalogue = QTable({"id": ["g0", "g1", "g2", "g3", "g0"]})
        labels = read_labels(tmp_path / "labels.csv", "type", catalogue, least=2)
        assert [labels.names[k] if k >= 0 else "" for k in labels.number] == ["S", "E", "E", "", "S"]

    def test_columns_have_names_that_files_take(self):
        assert column_names(["Sa-Sb", "Sa Sb", "-1", "1"]) == ["p_Sa_Sb", "p_Sa_Sb_1", "p_m1", "p_1"]


def bad_table(tmp_path, **columns):
    Table(columns).write(tmp_path / "labels.csv")
    return tmp_path / "labels.csv"


CATALOGUE = QTable({"id": ["g0", "g1", "g2", "g3"]})


class TestBadInput:
    def test_no_such_file(self, tmp_path):
        with pytest.raises(InputError, match="no such catalogue"):
            read_labels(tmp_path / "none.csv", "type", CATALOGUE)

    def test_no_such_column(self, tmp_path):
        with pytest.raises(UnknownNameError, match="column 'kind'"):
            read_labels(bad_table(tmp_path, id=["g0"], type=["E"]), "kind", CATALOGUE)

    def test_rows_that_cannot_be_matched(self, tmp_path):
        with pytest.raises(InputError, match="has 3 rows and no column 'id', the stamps are 4"):
            read_labels(bad_table(tmp_path, type=["E", "S", "E"], size=[1, 2, 3]), "type", CATALOGUE)

    def test_ids_of_other_objects(self, tmp_path):
        with pytest.raises(InputError, match="none of its 2 labelled ids, such as h0"):
            read_labels(bad_table(tmp_path, id=["h0", "h1"], type=["E", "S"]), "type", CATALOGUE)

    def test_two_labels_of_one_object(self, tmp_path):
        with pytest.raises(InputError, match="id g0 is both 'E' and 'S'"):
            read_labels(bad_table(tmp_path, id=["g0", "g0"], type=["E", "S"]), "type", CATALOGUE)

    def test_no_column_to_match_by(self, tmp_path):
        with pytest.raises(InputError, match="no column 'name' to match rows by"):
            read_labels(bad_table(tmp_path, id=["g0"], type=["E"]), "type", CATALOGUE, match="name")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([0.5, 1.0, 2.5, 1.0], "a quantity and no class"),
            (np.arange(200), "200 different values"),
            (["E"] * 8, "two classes with at least 2 labels"),
            (["", "", "", ""], "there are: none"),
            (np.zeros((4, 2)), "give one a stamp"),
        ],
    )
    def test_no_classes(self, values, message):
        with pytest.raises(InputError, match=message):
            labels_of(np.array(values), least=2)

    def test_least(self):
        with pytest.raises(InputError, match="least is 1"):
            labels_of(np.array(["E", "S"]), least=1)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"features": np.full((20, 3), np.nan)}, "are not finite"),
            ({"features": np.zeros(20)}, "give .n, feature. and .n,."),
            ({"label": np.r_[0, np.ones(19, int)]}, "class a has 1 objects"),
            ({"groups": np.zeros(20)}, "has 1 objects"),
        ],
    )
    def test_vectors_that_teach_nothing(self, change, message):
        random = np.random.default_rng(0)
        given = {"features": random.normal(size=(20, 3)), "label": np.arange(20) % 2, "names": ["a", "b"]} | change
        with pytest.raises(InputError, match=message):
            fit(**given)

    @pytest.mark.parametrize("change", [{"kind": "oracle"}, {"prior": "mine"}])
    def test_unknown_words(self, change):
        with pytest.raises(UnknownNameError, match="unknown"):
            fit(np.zeros((4, 2)), np.array([0, 0, 1, 1]), ["a", "b"], **change)

    def test_vectors_of_another_encoder(self):
        classifier, _ = fit(*blobs(60), NAMES)
        with pytest.raises(InputError, match="takes .n, 6."):
            classifier.probability(np.zeros((2, 5)))

    def test_damaged_folders(self, tmp_path):
        with pytest.raises(InputError, match="has no classifier.json"):
            load_classifier(tmp_path)
        save_classifier(fit(*blobs(60), NAMES)[0], tmp_path)
        said = json.loads((tmp_path / "classifier.json").read_text())
        (tmp_path / "classifier.npz").write_bytes(b"nothing")
        with pytest.raises(InputError, match="missing or damaged"):
            load_classifier(tmp_path)
        (tmp_path / "classifier.json").write_text(json.dumps(said | {"version": 99}))
        with pytest.raises(InputError, match="version 99"):
            load_classifier(tmp_path)
        (tmp_path / "classifier.json").write_text("{")
        with pytest.raises(InputError, match="is damaged"):
            load_classifier(tmp_path)
