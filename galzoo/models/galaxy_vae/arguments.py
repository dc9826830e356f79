"""Whether the hyper-parameters of a galaxy VAE make sense."""

import math

from galzoo.errors import RecipeError
from galzoo.models.galaxy_vae.networks import PATCH

# Least and greatest value of each number.
_RANGES = {
    "latent": (1, math.inf),
    "blocks": (0, math.inf),
    "hidden": (1, math.inf),
    "mixture": (1, math.inf),
    "kl_weight": (0, math.inf),
    "free_bits": (0, math.inf),
    "nested": (0, 1),
    "frame_weight": (0, math.inf),
    "error_floor": (0, math.inf),
    "band_dropout": (0, 0.99),
    "mask_dropout": (0, 1),
    "adaptation_weight": (0, math.inf),
}


def check_arguments(arguments):
    """Raise `RecipeError` that names the first of the arguments, a dict, that cannot be used."""
    channels, size = arguments["channels"], arguments["size"]
    if not channels or min(channels) < 1:
        raise RecipeError(f"channels is {channels}; give the channels of each level, such as [64, 96, 128]")
    if not arguments["bands"] or len(set(arguments["bands"])) < len(arguments["bands"]):
        raise RecipeError(f"bands is {arguments['bands']}; give at least one, each once")
    step = PATCH * 2 ** (len(channels) - 1)
    if size < step or size % step:
        raise RecipeError(f"size is {size}; {len(channels)} levels want a multiple of {step} pixels")
    for name, (least, most) in _RANGES.items():
        value = arguments[name]
        if not (math.isfinite(value) and least <= value <= most):
            between = f"from {least} to {most}" if math.isfinite(most) else f"of at least {least}"
            raise RecipeError(f"{name} is {value}; give a number {between}")
    if arguments["likelihood"] not in ("gaussian", "student"):
        raise RecipeError(f"likelihood {arguments['likelihood']!r} is unknown; use 'gaussian' or 'student'")
