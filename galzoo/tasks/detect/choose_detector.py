"""The detector of a preset, made to take the bands of a field."""

import dataclasses
import logging
from types import SimpleNamespace

import numpy as np

from galzoo.data.bands import spelt
from galzoo.errors import InputError
from galzoo.field.same_pixels import same_pixels
from galzoo.packaged_preset import say_absent

logger = logging.getLogger(__name__)


def choose_detector(preset, field, role="model"):
    """Return the detector of a preset as ``detect(batch, threshold)`` in the bands of a field.

    Parameters
    ----------
    preset : str or Path
        Name of a preset, or the folder of a preset or run.
    field : Field
    role : {"model", "residual"}

    Returns
    -------
    detect : callable
    field : Field
        As it names the detector's bands.
    model : galzoo.contracts.detections.Detector

    Raises
    ------
    InputError
        If a band of the field is none of the detector's, the pixels are too different, or the preset is for the other
        role.
    """
    from galzoo.presets import hyper_parameters, load_for

    # What does not fit is said before the network is loaded, where its file tells. A StarNet without tiles is told the
    # PSF, and takes pixels of any size.
    if {"bands", "pixel_scale"} <= set(told := hyper_parameters(preset)):
        scale = None if told.get("tile") == 0 else told["pixel_scale"]
        bands_of(field, SimpleNamespace(bands=told["bands"], pixel_scale=scale), str(preset))
    model = load_for("detect", preset, role)
    check_role(model, preset, role == "residual")
    return fit_detector(model, field, str(preset))


def check_width(preset, field, fwhm):
    """Say in the log where the PSF of a field, `fwhm` pixels wide, is none of those that a preset learnt with.

    That is known of presets whose training draws its own PSFs.
    """
    from galzoo.presets import load_card

    low, high = (load_card(preset)["recipe"]["data"].get("make") or {}).get("fwhm", (0.0, np.inf))
    if not low <= fwhm <= high:
        logger.warning(
            "%s: its PSF is %.2f pixels wide (FWHM), %s learnt with %g to %g; fluxes and numbers of such a field "
            "are not to be trusted, compare them with photutils", field.name, fwhm, preset, low, high,
        )  # fmt: skip


def check_role(model, name, residual):
    """Raise `InputError` unless a detector looks where it is to look: at what a fit has left, or at images.

    Families such as mask_rcnn serve both roles, each model only one: ``model.residual`` says which.
    """
    own = bool(getattr(model, "residual", False))
    if own and not residual:
        raise InputError(
            f"{name}: looks for what a fit has left and needs its model; give it as --residual with --iterate, and a "
            "detector of images, or none, as --preset"
        )
    if residual and not own:
        raise InputError(
            f"{name}: is a detector of images, not of what a fit has left; give it as --preset, and as --residual one "
            "that was trained so, e.g. mask_rcnn_lsst_residual, or none for the second look"
        )


def fit_detector(model, field, name="the detector"):
    """Return a `Detector` as `choose_detector` does."""
    bands = bands_of(field, model, name)
    say_absent(field, model.bands, name)
    return in_bands(model.detect, bands, model.bands), field.renamed(bands) if bands != field.bands else field, model


def bands_of(field, model, name):
    """Return the bands of a field as a model calls them; `InputError` where one is not its own or pixels are not."""
    bands = spelt(field.bands, model.bands)
    odd = [band for band in bands if band not in model.bands]
    if odd:
        raise InputError(
            f"{field.name}: band {odd[0]!r} is none of those of {name} ({', '.join(model.bands)}); "
            "say which it is with --as, or leave it out with --as -"
        )
    same_pixels(field, model, name, "use another preset, or none for the classical detection")
    return bands


def in_bands(detect, bands, known):
    """Let a method of a detector of the bands `known` answer for data of `bands`: absent bands have no weight."""
    if tuple(bands) == tuple(known):
        return detect
    place = [list(known).index(band) for band in bands]

    def filled(plane, value):
        wide = np.full((*plane.shape[:-1], len(known)), value, plane.dtype)
        wide[..., place] = plane
        return wide

    def run(batch, *arguments):
        wide = dict(batch)
        for key, value in (("image", 0), ("variance", np.inf), ("mask", True), ("model", 0), ("gain", 0)):
            if key in batch:
                wide[key] = filled(batch[key], value)
        if "psf" in batch:
            # A PSF must not be empty, whatever its weight.
            wide["psf"] = np.repeat(batch["psf"][..., :1], len(known), axis=-1)
            wide["psf"][..., place] = batch["psf"]
        answer = detect(wide, *arguments)
        fluxes = {field.name for field in dataclasses.fields(answer)} & {"flux", "flux_error"}
        changes = {key: getattr(answer, key)[..., place] for key in fluxes if getattr(answer, key) is not None}
        return dataclasses.replace(answer, **changes)

    return run
