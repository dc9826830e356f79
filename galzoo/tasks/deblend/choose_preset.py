"""Which preset deblends a field, and how it is made to take the field's bands and pixels."""

import functools
import logging

from galzoo.data.bands import spelt
from galzoo.errors import InputError
from galzoo.packaged_preset import packaged_preset
from galzoo.tasks.deblend.adapt_deblender import with_bands, with_pixels
from galzoo.tasks.deblend.nearest_preset import scale_of

logger = logging.getLogger(__name__)

# Pixel scales that differ by less need no resampling, which would correlate the noise: profiles are functions of
# position, and only the prior on their sizes is off by so much.
_SAME_SCALE = 0.25
_SCALES = (0.5, 2.0)
# Where that was asked for, pixels that differ by more than this are resampled, and up to so many times finer ones too:
# what is averaged keeps its flux, while the PSF of coarser pixels is not known well enough to be drawn in finer ones.
_CONFORMING, _FINEST = 0.05, 4.0
# Steps of fits that only look for missed sources: where a PSF is wrong, none would end early.
_SMOOTH_STEPS = 30


def choose_deblender(preset, deblender, method, field, prior=None, conform=False):
    """Return a deblender in bands and pixels of a field, the field as that names its bands, and what the report says.

    Parameters
    ----------
    preset : str, Path or None
        The packaged one that fits the field best by default.
    deblender : callable or None
        Returned as it is where given.
    method : str
        Passed to the model.
    field : Field
    prior : str or Path, optional
        Preset or run of a prior over pixels that takes over from the preset.
    conform : bool
        Resample windows to the pixels of the preset where they differ by more than 5 %, up to a factor of four in finer
        ones; by default where they differ by more than a quarter, up to a factor of two.

    Raises
    ------
    InputError
        If no preset has the bands, the pixel scales differ by too much, or the prior does not fit.
    """
    if deblender is not None and prior is not None:
        raise InputError("both a deblender and a prior given; a prior takes over from a preset")
    if deblender is not None:
        return deblender, field, {"preset": getattr(deblender, "__name__", type(deblender).__name__)}
    from galzoo.presets import card_for, load_for, model_checksum

    same, most = (_CONFORMING, _FINEST) if conform else (_SAME_SCALE, _SCALES[1])
    if preset is None:
        finer = (
            "resample the field"
            if conform
            else f"resample the field (--conform does, of up to {_FINEST:g} times finer pixels)"
        )
        preset = packaged_preset("deblend", field, ratios=(_SCALES[0], most), mend=finer)
    card = card_for("deblend", preset)
    model = load_for("deblend", preset)
    field = field.renamed(spelt(field.bands, model.bands))
    deblend = with_bands(functools.partial(deblend_batch, model, method), field.bands, model.bands)
    scale = scale_of(card)
    ratio = 1.0 if scale is None else scale / field.pixel_scale
    if scale is None:
        logger.warning("%s: its pixel scale is not known; taken to be that of the field", preset)
    if not _SCALES[0] <= ratio <= most:
        mend = (
            "add --conform" if _SCALES[1] < ratio <= _FINEST else f"resample the field to within a factor of {most:g}"
        )
        raise InputError(
            f"{field.name}: pixels of {field.pixel_scale:.4g} arcsec, preset {preset} has {scale:.4g}; {mend}, or use "
            "another preset"
        )
    about = {"preset": str(preset), "model": model_checksum(preset), "method": method}
    if prior is not None:
        from galzoo.tasks.deblend.pixel_prior import load_prior, with_prior

        pixels = scale if abs(ratio - 1) > same else field.pixel_scale
        deblend = with_prior(deblend, load_prior(prior, field.bands, pixels))
        about |= {"prior": str(prior), "prior model": model_checksum(prior)}
    if abs(ratio - 1) > same:
        logger.warning("%s: windows are resampled from %.4g to %.4g arcsec", field.name, field.pixel_scale, scale)
        deblend = with_pixels(deblend, ratio)
    elif abs(ratio - 1) > _CONFORMING:
        logger.warning(
            "%s: pixels of %.4g arcsec, preset %s has %.4g: its prior on sizes is off by as much; --conform resamples",
            field.name, field.pixel_scale, preset, scale,
        )  # fmt: skip
    return deblend, field, about


def deblend_batch(model, method, batch):
    """Answer a batch of the task, see `galzoo.tasks.deblend.run.deblend_field`, with a model."""
    # What has not ended by then fits badly, and is fitted again.
    options = {"refine_steps": 0, "steps": _SMOOTH_STEPS} if batch.pop("smooth") else {}
    from galzoo.inference.deblend import deblend

    options |= {key: batch.pop(key) for key in ("position_error", "grow") if key in batch}
    return deblend(model, batch, method=method, **options)
