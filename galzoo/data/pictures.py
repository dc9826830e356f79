"""Display-stretched colour pictures (JPEG, PNG) as stamps of one size.

A picture has no flux scale: its unit is "" and its pixels stay 8-bit. What a model needs to know of its noise is a
nominal variance, one number per stamp and band.
"""

import io

import numpy as np
from scipy import ndimage

from galzoo.errors import InputError

# Below this the noise of a picture is not the sky's: rounding to 8 bits gives 1 / sqrt(12) = 0.29, and coding SDSS
# pictures once more as JPEG of quality 90 changes 64-pixel stamps by 0.6 to 1.4 counts rms (measured; least in green,
# since colour is subsampled).
NOISE_FLOOR = 1.5
_CORNER = 8
# Sigma of the sum of bands down to which the galaxy is followed, and above which a neighbour is taken for real: the
# noise of pictures is correlated. What is closer than so many pixels to the galaxy is taken as its own; the wings of a
# neighbour reach so many pixels beyond what is found.
_GALAXY_LEVEL, _NEIGHBOUR_LEVEL, _APART, _RIM = 2.0, 4.0, 2, 2


def decode_picture(data, crop=None, size=64, name="picture"):
    """Decode one picture, crop its centre and average it to `size` pixels.

    Parameters
    ----------
    data : bytes, str or Path
        The encoded picture, or its file.
    crop : int, optional
        Side in pixels of the centre square to keep; the largest square by default.
    size : int
        Side of the result in pixels.
    name : str
        What to call it in an error.

    Returns
    -------
    uint8 array, (size, size, 3)

    Raises
    ------
    InputError
        If it is no picture, is smaller than `crop`, or would have to be enlarged.
    """
    from PIL import Image

    image = open_picture(io.BytesIO(data) if isinstance(data, bytes) else data, name)
    if image.mode != "RGB":
        image = Image.fromarray(np.round(np.clip(scaled_16_bit(image), 0, 255)).astype(np.uint8)).convert("RGB")
    side = min(image.size) if crop is None else int(crop)
    if side > min(image.size):
        raise InputError(f"{name}: {image.size[0]}x{image.size[1]} pixels, below the crop of {side}; lower it")
    if side < size:
        raise InputError(f"{name}: a crop of {side} pixels is below the stamp of {size}; ask for smaller stamps")
    left, top = (image.width - side) / 2, (image.height - side) / 2
    # BOX averages areas exactly, for fractional steps too: no aliasing and no ringing.
    return np.asarray(image.resize((size, size), Image.Resampling.BOX, box=(left, top, left + side, top + side)))


def open_picture(file, name="picture"):
    """Return a picture as it is meant to be seen, as a Pillow image in the mode RGB or, of 16 bits, in one of I.

    Parameters
    ----------
    file : path or binary file
    name : str
        What to call it in errors.

    Raises
    ------
    InputError
        If it is no picture, or of colours that have no red, green and blue.

    Notes
    -----
    What a camera says of its orientation is followed; what is transparent lets black sky through.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode == "F":
                raise ValueError("it holds real numbers, whose scale is not known")
            if image.mode.startswith("I"):
                # Conversion to RGB would clip 16 bits at 255.
                return image.copy()
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: not a readable picture ({error}); give JPEG or PNG files") from None


def scaled_16_bit(image):
    """Return the pixels of a picture of 16 bits in steps of one of 8, float32 (y, x)."""
    return np.asarray(image, np.float32) * np.float32(255 / 65535)


def picture_side(data):
    """Return the shorter side of an encoded picture in pixels."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        return min(opened.size)


def picture_noise(images, floor=NOISE_FLOOR):
    """Estimate the noise of pictures from their corners.

    The middle of the four corners' MAD: a galaxy that fills the frame or a neighbour in a corner hardly moves it.

    Parameters
    ----------
    images : uint8 array, (n, y, x, band)
    floor : float
        Least noise in counts, for rounding and JPEG coding.

    Returns
    -------
    float32 array, (n, band)
        Standard deviation in counts.
    """
    c = min(_CORNER, images.shape[1] // 2, images.shape[2] // 2)
    corners = np.stack([images[:, :c, :c], images[:, :c, -c:], images[:, -c:, :c], images[:, -c:, -c:]], axis=1)
    corners = corners.reshape(len(images), 4, c * c, images.shape[-1]).astype(np.float32)
    spread = np.median(np.abs(corners - np.median(corners, axis=2, keepdims=True)), axis=2)
    return np.maximum(1.4826 * np.median(spread, axis=1), floor).astype(np.float32)


def picture_variance(images, floor=NOISE_FLOOR):
    """Return the nominal variance plane of pictures: constant per stamp and band, a view that takes no memory.

    Returns
    -------
    float32 array, (n, y, x, band)
    """
    variance = picture_noise(images, floor) ** 2
    return np.broadcast_to(variance[:, None, None, :], images.shape)


def picture_neighbours(images, noise):
    """Find what lies beside the central galaxy of each picture.

    Sources are sought in the sum of the bands, each over its noise, without splitting what hangs together: a spiral arm
    is no neighbour. What touches the central galaxy, as far out as that can be seen, is left alone.

    Parameters
    ----------
    images : uint8 array, (n, y, x, band)
    noise : array, (n, band)
        Standard deviation in counts.

    Returns
    -------
    bool array, (n, y, x)
        True where a neighbour is, with a rim around it.
    """
    import sep

    inverse = 1 / noise[:, None, None, :]
    light = np.sum(images * inverse, axis=-1, dtype=np.float32) / np.sqrt(np.float32(images.shape[-1]))
    border = np.concatenate([light[:, 0], light[:, -1], light[:, :, 0], light[:, :, -1]], axis=1)
    light -= np.median(border, axis=1)[:, None, None]
    y, x = np.indices(images.shape[1:3])
    radius = np.hypot(y - (images.shape[1] - 1) / 2, x - (images.shape[2] - 1) / 2)
    masks = np.zeros(images.shape[:3], bool)
    for image, mask in zip(light, masks, strict=True):
        labels = [_labels(sep, image, level) for level in (_GALAXY_LEVEL, _NEIGHBOUR_LEVEL)]
        if not labels[0].any():
            continue
        centre = np.unravel_index(np.argmin(np.where(labels[0] > 0, radius, np.inf)), radius.shape)
        central = labels[0] == labels[0][centre]
        own = labels[1][ndimage.binary_dilation(central, iterations=_APART)]
        neighbours = (labels[1] > 0) & ~np.isin(labels[1], own[own > 0])
        mask[:] = ndimage.binary_dilation(neighbours, iterations=_RIM) & ~central
    return masks


def _labels(sep, image, level):
    """Return the number of the source that each pixel is of, 0 for none."""
    return sep.extract(image, level, minarea=6, deblend_cont=1.0, segmentation_map=True)[1]


def picture_r50(images):
    """Measure the radius, in pixels, of the circle about the centre with half the light of the largest one.

    The border's median is the sky. Stretched pictures make it larger than a half-light radius of the flux.

    Returns
    -------
    float32 array, (n,)
        NaN where a picture has no light above its border.
    """
    light = images.mean(axis=-1, dtype=np.float32)
    border = np.concatenate([light[:, 0], light[:, -1], light[:, :, 0], light[:, :, -1]], axis=1)
    light = (light - np.median(border, axis=1)[:, None, None]).reshape(len(images), -1)
    y, x = np.indices(images.shape[1:3])
    radius = np.hypot(y - (images.shape[1] - 1) / 2, x - (images.shape[2] - 1) / 2).ravel()
    order = np.argsort(radius, kind="stable")
    order = order[radius[order] <= min(images.shape[1:3]) / 2]
    growth = np.cumsum(light[:, order], axis=1)
    total = growth[:, -1]
    first = np.argmax(growth >= 0.5 * total[:, None], axis=1)
    return np.where(total > 0, radius[order][first], np.nan).astype(np.float32)
