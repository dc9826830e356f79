"""Detection of the checkerboards that strided decoders leave in images."""

import numpy as np

from galzoo.errors import InputError

# Bins of the power spectrum from the tested frequency to the ring it is compared with; a Hann window leaks into 2.
RING = 3


def checkerboard_power(image, period=2):
    """Compare the power at the frequencies of a pixel lattice with that of their neighbours.

    A decoder with strides of 2 can imprint patterns that repeat every 2, 4, ... pixels (Odena, Dumoulin & Olah 2016).
    In the power spectrum they are spikes at the harmonics of 1 / period, where a galaxy's spectrum is smooth.

    Parameters
    ----------
    image : array, (n, y, x, band)
        At least 16 pixels a side. Noiseless images; noise hides faint patterns.
    period : int
        Pixels, 2 or more. Harmonics of half the period are left to the test of that period, if `period` is even.

    Returns
    -------
    array, (n,)
        Mean over harmonics and bands of the ratio of powers: about 1 without a pattern. NaN for an image without
        structure.

    References
    ----------
    Odena, Dumoulin & Olah 2016, Distill, doi:10.23915/distill.00003.
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 4 or min(image.shape[1:3]) < 16:
        raise InputError(f"image has shape {image.shape}; give (n, y, x, band) with at least 16 pixels a side")
    if int(period) != period or period < 2:
        raise InputError(f"period is {period}; give a whole number of pixels, 2 or more")
    # A size that the period divides has a frequency bin exactly on each harmonic.
    height, width = (size - size % period for size in image.shape[1:3])
    image = image[:, :height, :width]
    window = np.hanning(height + 1)[:-1, None] * np.hanning(width + 1)[:-1]
    power = np.abs(np.fft.fft2(image * window[None, :, :, None], axes=(1, 2))) ** 2
    total = power.sum(axis=(1, 2), keepdims=True)
    # float32 images have rounding noise at this level; ratios below it mean nothing.
    power = power + 1e-14 * total
    ratios = []
    for a, b in _harmonics(period):
        row, column = a * height // period, b * width // period
        ring = [power[:, (row + dy) % height, (column + dx) % width] for dy, dx in _ring()]
        floor = np.exp(np.mean(np.log(np.where(np.asarray(ring) > 0, ring, np.nan)), axis=0))
        ratios.append(power[:, row, column] / floor)
    return np.mean(ratios, axis=(0, 2))


def _harmonics(period):
    """Yield the lattice's frequencies in units of 1 / period, without zero and without those of half the period."""
    for a in range(period // 2 + 1):
        for b in range(period):
            coarser = period % 2 == 0 and a % 2 == 0 and b % 2 == 0
            if (a, b) != (0, 0) and not coarser:
                yield a, b


def _ring():
    """Return the offsets (y, x) of a square ring of bins around a frequency."""
    span = range(-RING, RING + 1)
    return [(dy, dx) for dy in span for dx in span if max(abs(dy), abs(dx)) == RING]
