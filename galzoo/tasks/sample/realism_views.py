"""Samples and real galaxies as sets of images that are seen alike, for the suite "realism"."""

import dataclasses

import numpy as np

from galzoo.data.stamps import Stamps
from galzoo.data.zeropoint import magnitude_to_njy
from galzoo.evaluate.held_out import evenly
from galzoo.layers.psf import convolve
from galzoo.tasks.reconstruct.scores import seen_planes
from galzoo.tasks.sample.likelihood import known_conditions

# Galaxies are compared from this signal-to-noise in the band that is measured, and at most so many, for time.
SNR = 20.0
MOST = 500


@dataclasses.dataclass
class View:
    """Sets of images that are seen alike.

    Parameters
    ----------
    images : dict of str to array, (n, y, x, band)
        "real" (test galaxies), "samples" and, for priors over codes, "codec", row by row for the same conditions; and
        "others", other real galaxies.
    sigma : dict of str to array, (n, band), optional
        Noise of each image and band, 0 where there is none; None for pictures.
    """

    images: dict
    sigma: dict | None


def draw(model, stamps, seed):
    """Return samples for the conditions of stamps, of their size."""
    shape = tuple(stamps.shape)
    options = {} if shape == tuple(getattr(model, "stamp_size", None) or shape) else {"size": shape}
    return model.sample(len(stamps), known_conditions(model, stamps), seed, **options)


def decoded(model, stamps, parts, crop=slice(None), bands=slice(None), batch_size=64):
    """Return what a prior's codec makes of the codes of stamps, by the way that samples go.

    Parameters
    ----------
    model : prior
        With a ``codec``.
    stamps : Stamps
    parts : list of array
        What `galzoo.tasks.sample.likelihood.prepared` returns for them.
    crop, bands : index
        What to keep of the images (n, y, x, band).
    batch_size : int

    Returns
    -------
    array, (n, y, x, band)
        In the model frame.
    """
    from keras import ops

    values, _, noise = parts
    flux_column = getattr(model, "flux_column", None)
    if flux_column is not None:
        asked = magnitude_to_njy(known_conditions(model, stamps)[flux_column])
        index = list(model.bands).index(model.flux_band)
    images = []
    for start in range(0, len(values), batch_size):
        rows = slice(start, start + batch_size)
        image = ops.convert_to_numpy(model.codec.decode(values[rows, ..., 0], noise[rows], tuple(stamps.shape)))
        if flux_column is not None:
            # Samples have the flux that was asked for; a galaxy whose magnitude is unknown keeps its own.
            flux = np.maximum(image[..., index].sum(axis=(1, 2), dtype=np.float64), 1e-12)
            factor = np.where(np.isfinite(asked[rows]), asked[rows] / flux, 1.0)
            image = image * factor.astype(np.float32)[:, None, None, None]
        images.append(image[crop][..., bands])
    return np.concatenate(images)


def as_observed(model, image, stamps, seed=0, batch_size=64):
    """Show model-frame images as the survey showed other galaxies: their PSFs, their noise, their bad pixels.

    Parameters
    ----------
    model : prior
    image : array, (n, y, x, band)
        From the model, row by row for the stamps.
    stamps : Stamps
    seed : int
        Of the noise.
    batch_size : int

    Returns
    -------
    array, (n, y, x, band)
        8-bit pictures are rounded and cut to 0 to 255. Images of a prior that learnt the noise too stay as they are.
    """
    if not stamps.unit:
        return np.round(np.clip(image, 0, 255)).astype(np.uint8)
    if not model.model_sigma:
        return image
    from keras import ops

    planes = seen_planes(stamps)
    seen = np.empty(image.shape, np.float32)
    for start in range(0, len(image), batch_size):
        rows = slice(start, start + batch_size)
        seen[rows] = ops.convert_to_numpy(convolve(image[rows], stamps.psf_of(rows), model.model_sigma))
    sigma = np.sqrt(np.where(np.isfinite(planes["variance"]), planes["variance"], 0.0))
    seen += sigma * np.random.default_rng(seed).standard_normal(seen.shape, np.float32)
    return np.where(planes["mask"], np.float32(0), seen)


def best_bands(model, stamps):
    """Return the bands (indices) from the one of the highest signal-to-noise on, but that of the model's flux first."""
    bands = list(stamps.bands)
    if not stamps.unit:
        return list(range(len(bands)))
    levels = [np.median(signal_to_noise(stamps, index)) for index in range(len(bands))] if len(bands) > 1 else [0]
    order = [int(index) for index in np.argsort(levels)[::-1]]
    flux_band = getattr(model, "flux_band", None)
    first = bands.index(flux_band) if flux_band in bands else order[0]
    return [first, *(index for index in order if index != first)]


def signal_to_noise(stamps, band):
    """Return the signal-to-noise (n,) in a band: from the catalogue, or measured."""
    for name in (f"snr_{stamps.bands[band]}", "snr" if len(stamps.bands) == 1 else None):
        if name in stamps.catalogue.colnames:
            return np.asarray(stamps.catalogue[name], dtype=np.float64)
    from galzoo.metrics.reconstruction import signal_to_noise as measured

    planes = seen_planes(stamps)
    return measured(*(planes[key][..., band : band + 1] for key in ("image", "variance", "mask")))


def make_views(model, test, samples, codec, others, bands, seed=0):
    """Build the views of galaxies that are bright enough.

    Parameters
    ----------
    model : prior
    test : Stamps
    samples : array, (n, y, x, band)
        In the model frame, for the conditions of `test`.
    codec : array, same shape, optional
    others : sequence of Stamps
        Real galaxies; as many bright ones as of `test` are taken, each once, from the first ones first.
    bands : sequence of int
        From `best_bands`.
    seed : int

    Returns
    -------
    views : dict of str to View
        "observed" and, where the noiseless truth is known and the model learnt it, "frame".
    rows : int array
        Which test galaxies.
    """
    rows = evenly(_bright(test, bands[0]), MOST)
    real = test[rows]
    rest, wanted = [], len(rows)
    for stamps in others:
        bright = _bright(stamps, bands[0])
        chosen = bright[np.sort(np.unique(stamps.catalogue["id"][bright], return_index=True)[1])]
        chosen = evenly(chosen, wanted)
        wanted -= len(chosen)
        if len(chosen):
            rest.append(stamps[chosen])
    sets = {"real": real, **({"others": Stamps.concatenate(rest)} if rest else {})}
    planes = {key: seen_planes(stamps) for key, stamps in sets.items()}
    made = {"samples": samples[rows], **({} if codec is None else {"codec": codec[rows]})}
    images = {key: part["image"] for key, part in planes.items()}
    for number, (key, image) in enumerate(made.items()):
        images[key] = as_observed(model, image, real, [seed, number]).astype(np.float32)
    sigma = None
    if test.unit:
        sigma = {key: _sigma(part["variance"]) for key, part in planes.items()}
        sigma |= dict.fromkeys(made, sigma["real"])
    frame = None
    if test.truth is not None and model.model_sigma:
        truth = {key: stamps.truth for key, stamps in sets.items()} | made
        frame = View(truth, {key: np.zeros((len(image), image.shape[-1])) for key, image in truth.items()})
    return {"observed": View(images, sigma), **({} if frame is None else {"frame": frame})}, rows


def _bright(stamps, band):
    return np.flatnonzero(signal_to_noise(stamps, band) > SNR) if stamps.unit else np.arange(len(stamps))


def _sigma(variance):
    """Return the noise of the sky, (n, band): photons of a bright galaxy hardly change a harmonic mean."""
    weight = 1 / variance
    mean = weight.mean(axis=(1, 2))
    return np.sqrt(np.divide(1.0, mean, out=np.zeros_like(mean), where=mean > 0))
