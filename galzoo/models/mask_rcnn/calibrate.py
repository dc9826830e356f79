"""Probabilities of existence that are as often true as they say."""

import numpy as np
from keras import ops

from galzoo.models.logistic import expit
from galzoo.models.mask_rcnn import losses

# Without data the fit keeps the logit as it is, as firmly as so many nats for a change of one.
_PRIOR = 1.0
_STEPS = 30
_LEAST_SNR, _MOST_SNR = 1.0, 1e4


def recalibrated(logit, log_snr, calibration):
    """Return logits after `calibration`: slope, offset, and slope with the logarithm of the signal-to-noise ratio."""
    if calibration is None:
        return logit
    slope, offset, with_snr = calibration
    return slope * logit + offset + with_snr * log_snr


def measured_snr(found):
    """Return the logarithm of the signal-to-noise ratio that is measured, all bands together, cut to 0 to 9.2."""
    scaled, error = found["scaled_flux"], np.exp(np.clip(found["log_flux_error"], losses.LEAST_LOG, losses.MOST_LOG))
    # A flux over its error, of the arcsinh of that flux.
    each = np.tanh(scaled) / error * (found["present"][:, None] > 0)
    snr = np.sqrt(np.sum(np.square(each), axis=-1))
    return np.log(np.clip(snr, _LEAST_SNR, _MOST_SNR))


def fit_calibration(model, batches):
    """Return slope, offset and slope with the signal-to-noise ratio that make the probabilities of batches right.

    Parameters
    ----------
    model : MaskRCNN
    batches : iterable of dict
        With truth, as in training; numbers of sources as where the detector will be used.

    Returns
    -------
    list of three floats

    Notes
    -----
    Logistic regression (Platt 1999) of whether a proposal is the best one of a source that must be found; proposals of
    fainter sources are left out.
    """
    rows, true = [], []
    for batch in batches:
        outputs = model(batch)
        given = losses.with_source_images(batch)
        wanted = outputs["missed"] > 0 if "missed" in outputs else None
        truth = losses.select_truth(given, outputs["noise"], outputs["present"], model.snr_limit, wanted)
        _, matched, known = losses.match(outputs["centre"], outputs["score"], truth, model.match_radius)
        found = {key: ops.convert_to_numpy(outputs[key]) for key in
                 ("existence", "score", "scaled_flux", "log_flux_error", "present")}  # fmt: skip
        counted = ops.convert_to_numpy(known) & (found["score"] > -1e3)
        columns = [found["existence"], np.ones_like(found["existence"]), measured_snr(found)]
        rows.append(np.stack(columns, axis=-1)[counted])
        true.append(ops.convert_to_numpy(matched)[counted])
    if not rows:
        return [1.0, 0.0, 0.0]
    return _logistic(np.concatenate(rows).astype(float), np.concatenate(true).astype(float))


def _logistic(rows, true):
    """Return the coefficients of a logistic regression by Newton's method, drawn towards 1, 0, 0."""
    start = np.array([1.0, 0.0, 0.0])
    weight = start.copy()

    def cost(value):
        logit = rows @ value
        return np.sum(np.logaddexp(0, logit) - true * logit) + _PRIOR / 2 * np.sum((value - start) ** 2)

    for _ in range(_STEPS):
        probability = expit(rows @ weight)
        slope = rows.T @ (probability - true) + _PRIOR * (weight - start)
        curvature = (rows * (probability * (1 - probability))[:, None]).T @ rows + _PRIOR * np.eye(3)
        step, share = np.linalg.solve(curvature, slope), 1.0
        while share > 1e-4 and cost(weight - share * step) > cost(weight):
            share /= 2
        weight = weight - share * step
        if np.max(np.abs(share * step)) < 1e-6:
            break
    return weight.tolist()
