"""Wavelet scattering features: a fixed encoder of galaxy images that nobody has to train."""

from functools import lru_cache

import numpy as np

from galzoo.errors import InputError

# Octaves and orientations of the Morlet filters; 61 numbers a zone, 122 a band.
OCTAVES, ORIENTATIONS = 3, 4
# Filter shape of Kymatio (Andreux et al. 2020, JMLR 21, 60): width and centre frequency at the finest octave, slant.
SIGMA, FREQUENCY, SLANT = 0.8, 3 * np.pi / 4, 4 / ORIENTATIONS
# Width of the central zone over the stamp's shorter side.
CENTRE = 1 / 6
# Of a scattering coefficient, in units of the noise; structure below a hundredth of it is not seen.
FLOOR = 0.01
# Pixels held in memory at a time.
BLOCK = 200_000


def scattering_features(image, scale=1.0):
    """Describe images by the strength of their wavelet coefficients, and of the wavelets of those.

    The image is compressed to asinh(image / scale) and filtered by Morlet wavelets of 3 octaves and 4 orientations; the
    moduli, and the moduli of their coarser wavelet coefficients, are averaged in a central and an outer zone. Nothing
    is learnt, so features of any two sets compare.

    Parameters
    ----------
    image : array, (n, y, x) or (n, y, x, band)
        At least 16 pixels a side, finite.
    scale : float or array, (band,) or (n, band)
        Standard deviation of the noise, in the unit of the image.

    Returns
    -------
    float32 array, (n, 122 * band)
        Band by band, and in each the central zone before the outer: the mean, log of 12 first-order coefficients
        (octave by octave), and log of the ratio of 48 second-order ones to the first-order ones they come from.

    Raises
    ------
    InputError
        If the shape, the scale or a pixel cannot be used.

    References
    ----------
    Mallat 2012, Communications on Pure and Applied Mathematics 65, 1331; Bruna & Mallat 2013, IEEE TPAMI 35, 1872.
    """
    image = np.asarray(image)
    if image.ndim == 3:
        image = image[..., None]
    if image.ndim != 4 or min(image.shape[1:3]) < 16:
        raise InputError(f"image has shape {image.shape}; give (n, y, x, band) with at least 16 pixels a side")
    n, height, width, bands = image.shape
    scale = np.asarray(scale, dtype=np.float64)
    if scale.shape not in ((), (bands,), (n, bands)) or not (np.all(scale > 0) and np.all(np.isfinite(scale))):
        raise InputError(f"scale has shape {scale.shape}; give positive numbers, one or ({bands},) or ({n}, {bands})")
    scale = np.broadcast_to(scale, (n, bands))[:, None, None, :]
    if not np.isfinite(image).all():
        raise InputError("image has pixels that are not finite; fill them first, for example with 0")
    result = [np.zeros((0, bands, 2, _count()), np.float32)]
    step = max(1, BLOCK // (height * width * bands))
    for start in range(0, n, step):
        scaled = np.arcsinh(image[start : start + step] / scale[start : start + step]).astype(np.float32)
        stack = np.moveaxis(scaled, -1, 1).reshape(-1, height, width)
        result.append(_scatter(stack).reshape(-1, bands, 2, _count()))
    return np.concatenate(result).reshape(n, bands * 2 * _count())


def _count():
    return 1 + OCTAVES * ORIENTATIONS + OCTAVES * (OCTAVES - 1) // 2 * ORIENTATIONS**2


def _scatter(stack):
    """Return the features of images (n, y, x) as (n, zone, feature)."""
    from scipy import fft

    shape = stack.shape[1:]
    padding = _padding(shape)
    padded = np.pad(stack, ((0, 0), *padding), mode="symmetric")
    zones = {step: _zones(shape, step) for step in (2**octave for octave in range(OCTAVES))}
    spectrum = fft.fft2(padded)
    mean = _pool(padded, zones[1])
    first, second = [], []
    for octave in range(OCTAVES):
        for filtered in _filters(padded.shape[1:], 1)[octave]:
            modulus = np.abs(fft.ifft2(_fold(spectrum * filtered, 2**octave)))
            strength = _pool(modulus, zones[2**octave])
            first.append(np.log(strength + FLOOR))
            if octave == OCTAVES - 1:
                continue
            inner = fft.fft2(modulus)
            for coarser in range(octave + 1, OCTAVES):
                for filtered_again in _filters(padded.shape[1:], 2**octave)[coarser]:
                    again = np.abs(fft.ifft2(_fold(inner * filtered_again, 2 ** (coarser - octave))))
                    ratio = (_pool(again, zones[2**coarser]) + FLOOR) / (strength + FLOOR)
                    second.append(np.log(ratio))
    return np.stack([mean, *first, *second], axis=-1)


def _padding(shape):
    """Return what to add on each side, so that wavelets do not wrap and the coarsest sampling divides the size."""
    unit = 2**OCTAVES
    sizes = [-(-size // unit) * unit + 2 * unit for size in shape]
    return [((total - size) // 2, total - size - (total - size) // 2) for total, size in zip(sizes, shape, strict=True)]


def _fold(spectrum, step):
    """Return the spectrum of the image sampled at every `step`-th pixel."""
    if step == 1:
        return spectrum
    n, height, width = spectrum.shape
    return spectrum.reshape(n, step, height // step, step, width // step).mean(axis=(1, 3))


def _pool(values, zones):
    """Average (n, y, x) within zones (zone, y, x)."""
    return values.reshape(len(values), -1) @ zones.reshape(len(zones), -1).T


@lru_cache(maxsize=32)
def _zones(shape, step):
    """Return the weights of the central and the outer zone on the sampled, padded grid; each sums to 1."""
    squared = np.zeros(())
    inside = np.ones((), bool)
    for axis, (size, (before, after)) in enumerate(zip(shape, _padding(shape), strict=True)):
        position = np.arange(0, size + before + after, step) - before
        offset = np.expand_dims(position - (size - 1) / 2, 1 - axis)
        squared = squared + offset**2
        inside = inside & np.expand_dims((position >= 0) & (position < size), 1 - axis)
    centre = np.exp(-0.5 * squared / (CENTRE * min(shape)) ** 2)
    zones = np.stack([centre, 1 - centre]) * inside
    return (zones / zones.sum(axis=(1, 2), keepdims=True)).astype(np.float32)


@lru_cache(maxsize=32)
def _filters(padded, step):
    """Return the spectra of the filters, (orientation, y, x) for each octave, on the grid sampled at `step`.

    Morlet wavelets have no mean: a Gaussian envelope times a wave, less so much of the envelope that the sum vanishes.
    """
    frequency_y, frequency_x = (2 * np.pi * np.fft.fftfreq(size // step) / step for size in padded)
    result = []
    for octave in range(OCTAVES):
        sigma, centre = SIGMA * 2**octave, FREQUENCY / 2**octave
        filters = []
        for angle in np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS:
            envelope, wave = np.zeros((2, len(frequency_y), len(frequency_x)))
            # Frequencies beyond the grid's come back on it: the sum of the nearest periods.
            for ky in 2 * np.pi / step * np.arange(-1, 2):
                for kx in 2 * np.pi / step * np.arange(-1, 2):
                    along = (frequency_x + kx) * np.cos(angle) + (frequency_y + ky)[:, None] * np.sin(angle)
                    across = (frequency_y + ky)[:, None] * np.cos(angle) - (frequency_x + kx) * np.sin(angle)
                    across = np.exp(-0.5 * (sigma * across / SLANT) ** 2)
                    envelope += np.exp(-0.5 * (sigma * along) ** 2) * across
                    wave += np.exp(-0.5 * (sigma * (along - centre)) ** 2) * across
            zero = wave[0, 0] / envelope[0, 0]
            filters.append(wave - zero * envelope)
        result.append(np.stack(filters).astype(np.float32))
    return result
