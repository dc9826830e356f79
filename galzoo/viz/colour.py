"""Colour pictures from images of any number of bands."""

import numpy as np

from galzoo.errors import InputError

# The stretch is linear below this many sigma of the noise and logarithmic above.
SOFTENING_SIGMA = 3.0
# Blue light counts for more, as in the pictures of the Legacy Surveys (g, r, z by 6.0, 3.4, 2.2): an old galaxy is then
# yellow and a spiral arm blue, where plain fluxes would show both red.
COLOUR_SLOPE = -1.6
# Of more than three bands these are shown where they are there, as in the pictures of SDSS, HSC and Rubin.
SHOWN = "g", "r", "i"
# What stands for the noise of a band without light and noise.
_NO_NOISE = 1e-30
# Order of the letters of common filter names along the spectrum, to tell which end of a list of bands is red.
SPECTRUM = "ugrizyjhk"


def to_rgb(image, bands=None, variance=None, mask=None, like=None):
    """Turn an image into an RGB picture with an asinh stretch.

    One band gives grey. Two give red and blue with their mean as green. Three or more give the reddest, the middle and
    the bluest, of more than three i, r and g where they are there; a Lupton stretch keeps the colour of bright pixels.
    Colours are ratios of fluxes, each band weighed by the power `COLOUR_SLOPE` of its wavelength where its name is
    known; noise, which differs from band to band by survey, sets the stretch of all together alone. Bands of infinite
    variance, which were not observed, are left out. uint8 pictures are shown as they are.

    Parameters
    ----------
    image : array, (y, x, band)
        In any unit, or uint8.
    bands : sequence of str, optional
        Names, to find which end is red; by default the bands are taken to run from blue to red.
    variance : array, same shape, optional
        Sets the noise at which the stretch bends; by default it is estimated from the pixels.
    mask : bool array, same shape, optional
        True = bad; shown dark, and not used for the stretch.
    like : array, (y, x, band), optional
        Take the stretch from this image, so that several can be compared by eye. `variance` and `mask` then belong to
        it as well. If it is a uint8 picture, `image` is shown on its scale, 0 to 255.

    Returns
    -------
    uint8 array, (y, x, 3)

    Raises
    ------
    InputError
        If the image is not (y, x, band) or the number of names is wrong.

    References
    ----------
    Lupton et al. 2004, PASP 116, 133.
    """
    image = np.asarray(image)
    if image.ndim != 3 or not image.shape[-1]:
        raise InputError(f"image has shape {image.shape}; a picture is made from (y, x, band)")
    if bands is not None and len(bands) != image.shape[-1]:
        raise InputError(f"{len(bands)} names for {image.shape[-1]} bands")
    reference = image if like is None else np.asarray(like)
    if reference.shape != image.shape:
        raise InputError(f"like has shape {reference.shape}, the image {image.shape}")
    seen = None if variance is None else np.flatnonzero(np.isfinite(variance).any(axis=(0, 1)))
    if seen is not None and 0 < len(seen) < image.shape[-1]:
        image, reference, variance = image[..., seen], reference[..., seen], np.asarray(variance)[..., seen]
        mask = None if mask is None else np.asarray(mask)[..., seen]
        bands = None if bands is None else [bands[band] for band in seen]
    order = _red_green_blue(image.shape[-1], bands)
    if reference.dtype == np.uint8:
        return np.round(np.clip(_pick(np.nan_to_num(image.astype(np.float64)), order), 0, 255)).astype(np.uint8)
    noise, peak = _levels(reference, variance, mask)
    used = sorted({band for group in order for band in group})
    weight = _weights(image.shape[-1], bands)
    # One noise for all bands; those without data have none.
    known = [band for band in used if noise[band] > _NO_NOISE] or used
    common = np.exp(np.mean(np.log((noise * weight)[known])))
    scaled = np.nan_to_num(np.asarray(image, np.float64) * weight / common, nan=0.0, posinf=0.0, neginf=0.0)
    if mask is not None and like is None:
        scaled = np.where(mask, 0.0, scaled)
    return _stretch(_pick(scaled, order), np.max((peak * weight / common)[used]))


def _red_green_blue(count, bands):
    """Return for each of red, green and blue the indices of the bands that are averaged."""
    order = list(range(count))
    if bands is not None and [name.lower() for name in bands] in (["r", "g", "b"], ["red", "green", "blue"]):
        return [[0], [1], [2]]
    if bands is not None and count > 1:
        keys = [_colour_key(name) for name in bands]
        if None not in keys:
            order.sort(key=keys.__getitem__)
        elif keys == [None] * count and count == 3:
            # Pictures with unknown names are most often R, G, B.
            order.reverse()
    if count > len(SHOWN) and bands is not None:
        letters = [name.lower().replace("-", "_").split("_")[-1] for name in bands]
        if set(SHOWN) <= set(letters):
            order = [letters.index(name) for name in SHOWN]
    blue, red = order[0], order[-1]
    if count == 1:
        return [[0], [0], [0]]
    if count == 2:
        return [[red], [blue, red], [blue]]
    return [[red], [order[len(order) // 2]], [blue]]


def _weights(count, bands):
    """Return what each band counts by, 1 in the middle one; 1 for all where a name says no wavelength."""
    keys = [None] * count if bands is None else [_colour_key(name) for name in bands]
    if None in keys or count == 1 or [name.lower() for name in bands] in (["r", "g", "b"], ["red", "green", "blue"]):
        return np.ones(count)
    keys = np.array(keys, float)
    return (keys / np.exp(np.mean(np.log(keys)))) ** COLOUR_SLOPE


def _colour_key(name):
    """Return a number that rises with wavelength for a filter name such as r, F814W, NIR_H or HSC-I; else None."""
    name = name.lower()
    digits = "".join(char for char in name if char.isdigit())
    if name.startswith("f") and len(digits) >= 3:
        number = float(digits[:3])
        # HST names its infrared filters by hundredths of a micron, F098M to F167N; the optical starts at F200LP.
        return number * 10 if number < 200 else number
    tail = name.replace("-", "_").split("_")[-1]
    if "vis" in name:
        return 700.0
    letter = tail[:1]
    return 300.0 + 150.0 * SPECTRUM.index(letter) if letter and letter in SPECTRUM else None


def _levels(image, variance, mask):
    """Return the noise and the peak of each band."""
    good = np.isfinite(image)
    if mask is not None:
        good &= ~np.asarray(mask, dtype=bool)
    noise, peak = np.ones(image.shape[-1]), np.ones(image.shape[-1])
    for band in range(image.shape[-1]):
        pixels = image[..., band][good[..., band]].astype(np.float64)
        if not pixels.size:
            continue
        peak[band] = np.percentile(pixels, 99.8)
        sigma = 1.4826 * np.median(np.abs(pixels - np.median(pixels)))
        if variance is not None:
            plane = np.asarray(variance, dtype=np.float64)[..., band]
            plane = plane[good[..., band] & np.isfinite(plane) & (plane > 0)]
            sigma = np.sqrt(np.median(plane)) if plane.size else 0.0
        # A noiseless image has no sigma; a hundredth of its peak shows as much.
        noise[band] = sigma if sigma > 0 else max(1e-2 * abs(peak[band]), _NO_NOISE)
    return noise, peak


def _pick(image, order):
    return np.stack([image[..., group].mean(axis=-1) for group in order], axis=-1)


def _stretch(rgb, peak):
    """Stretch the mean of the channels, in sigma, and keep their ratios."""
    low = -1.0
    intensity = rgb.mean(axis=-1, keepdims=True)
    top = np.arcsinh((max(peak, 10.0) - low) / SOFTENING_SIGMA)
    bright = np.arcsinh(np.maximum(intensity - low, 0.0) / SOFTENING_SIGMA) / top
    # Ratios of pixels within the noise would be loud random colours; a pedestal makes them grey.
    ratio = (np.maximum(rgb, low) + 2 * SOFTENING_SIGMA) / (np.maximum(intensity, low) + 2 * SOFTENING_SIGMA)
    picture = ratio * bright
    # Too bright pixels are dimmed in all channels alike, so that cores keep their colour.
    picture = picture / np.maximum(picture.max(axis=-1, keepdims=True), 1.0)
    return np.round(255 * picture).astype(np.uint8)
