"""Layers that families share: the telescope's forward model, quantisers and convolution blocks.

Each is imported when it is first used, so that one layer does not load the others.
"""

import importlib

_PUBLIC = {
    "BlendScenes": "blend",
    "ConvolvePSF": "psf",
    "FiniteScalarQuantizer": "quantizer",
    "FluxScaling": "flux",
    "PasteScenes": "paste",
    "ResidualStack": "blocks",
    "Rotate90Flip": "augment",
    "Upsample": "blocks",
    "VectorQuantizer": "quantizer",
    "chi2_per_pixel": "likelihood",
    "clean": "likelihood",
    "convolve": "psf",
    "difference_kernel": "psf",
    "fourier_nll": "likelihood",
    "gaussian_nll": "likelihood",
    "gaussian_psf": "psf",
    "noise_level": "flux",
    "place": "placement",
    "weights": "likelihood",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
