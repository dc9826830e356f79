import keras
import numpy as np
import pytest

from galzoo.errors import InputError
from galzoo.metrics.codebook import CodebookPerplexity, code_counts, codebook_usage, perplexity_of_counts


def test_perplexity_of_uniform_codes_is_the_size():
    codes = np.arange(64).reshape(4, 4, 4)
    usage = codebook_usage(codes, 64)
    assert usage["perplexity"] == pytest.approx(64)
    assert usage["share_used"] == 1
    assert usage["dead"] == 0


def test_one_code_has_perplexity_one():
    usage = codebook_usage(np.full((3, 2, 2), 5), 8)
    assert usage["perplexity"] == pytest.approx(1)
    assert usage["dead"] == 7
    assert usage["perplexity_error"] == 0


def test_perplexity_does_not_depend_on_batches():
    codes = np.random.default_rng(0).integers(0, 32, (20, 4, 4))
    metric = CodebookPerplexity(32)
    for part in np.split(codes, 5):
        metric.update_state(part)
    assert float(metric.result()) == pytest.approx(codebook_usage(codes, 32)["perplexity"], rel=1e-5)
    # The mean over batches, which is what a batch metric would show, is well below.
    assert np.mean([codebook_usage(part, 32)["perplexity"] for part in np.split(codes, 5)]) < 0.95 * metric.result()


def test_bootstrap_error_is_that_of_repeated_samples():
    random = np.random.default_rng(1)
    share = np.arange(1, 17) / np.arange(1, 17).sum()
    draws = [random.choice(16, size=(50, 2, 2), p=share) for _ in range(60)]
    true = np.std([codebook_usage(draw, 16, bootstrap=2)["perplexity"] for draw in draws])
    assert codebook_usage(draws[0], 16)["perplexity_error"] == pytest.approx(true, rel=0.6)


def test_no_codes_give_nan():
    assert np.isnan(codebook_usage(np.zeros((0, 4, 4), int), 8)["perplexity"])
    assert np.isnan(perplexity_of_counts(np.zeros(4)))


@pytest.mark.parametrize(
    "codes", [np.full((1, 2, 2), 8), np.full((1, 2, 2), -1), np.zeros((1, 2, 2)), np.zeros(4, int)]
)
def test_bad_codes_are_refused(codes):
    with pytest.raises(InputError):
        codebook_usage(codes, 8)


def test_counts_add_up():
    assert code_counts([0, 2, 2], 4).tolist() == [1, 0, 2, 0]


def test_perplexity_without_codes_and_after_a_reset():
    metric = CodebookPerplexity(4)
    assert float(metric.result()) == 0
    metric.update_state(np.array([[0, 1], [1, 1]]))
    assert float(metric.result()) > 1
    metric.reset_state()
    assert float(metric.result()) == 0


def test_metrics_round_trip_through_config():
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(CodebookPerplexity(16)))
    assert type(copy) is CodebookPerplexity
    assert copy.size == 16
