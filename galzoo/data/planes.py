"""One image of a FITS file (plain, multi-extension, Rice, gzip, bzip2) or picture, read by pieces."""

import functools
import importlib
import logging
import lzma
import re
import shutil
import tempfile
import warnings
import weakref
import zlib
from pathlib import Path

import numpy as np

from galzoo.data.hdus import NOT_FETCHED, check_file, contents, full_header, get_hdu, split_extension
from galzoo.errors import InputError
from galzoo.resources import release

logger = logging.getLogger(__name__)

_PICTURES = (".jpg", ".jpeg", ".png")
# What begins so is no FITS file, whatever its name.
_OTHER_FILES = (
    (b"\xff\xd8\xff", "a JPEG picture; name it .jpg"), (b"\x89PNG", "a PNG picture; name it .png"),
    (b"II*\x00", "a TIFF picture; write it as FITS or PNG"), (b"MM\x00*", "a TIFF picture; write it as FITS or PNG"),
    (b"\x89HDF", "an HDF5 file; write its images as FITS"), (b"PK\x03\x04", "a zip archive (or npz); write FITS"),
    (b"\x93NUMPY", "a NumPy file; write it as FITS"), (b"#ASDF", "an ASDF file; write its images as FITS"),
    *NOT_FETCHED,
)  # fmt: skip
# Extensions by the names that surveys give them.
_KINDS = {
    "weight": re.compile(r"(?i)weight|wht|wgt|iv(ar|m)|invvar"),
    "rms": re.compile(r"(?i)rms|sigma|err|unc|noise"),
    "variance": re.compile(r"(?i)var|stat$"),
    "flags": re.compile(r"(?i)mask|msk|flag|flg|dq|bpm"),
    "segmentation": re.compile(r"(?i)seg"),
    "psf": re.compile(r"(?i)psf"),
}
_OTHERS = re.compile(r"(?i)con$|ctx|context|nimage|exp(osure)?(map|time)?$|coverage|area$|wcsdvarr|d2imarr|hdrlet")
# Words that say so at the end of a name, as in G_ERR, and names of what is made of an image.
_ENDINGS = re.compile(
    r"(?i)err(or)?s?|rms|sig(ma)?|unc(ert(ainty)?)?|noise|(inv?)?var(iance)?|ivar|weights?|wht|wgt|mask|flags?|dq|psf|"
    r"seg(map|m|mentation)?|bkg|bg|back(ground)?|sky|model|resid(uals?)?|s2?nr?|chi2?|nobs|nexp|depth|cov(erage)?|fwhm"
)
# Names of the one image of a file, whatever else is in it.
_GENERIC = re.compile(r"(?i)sci(ence)?|data|image|img|signal|flux")
_DISTORTIONS = ("WCSDVARR", "D2IMARR")
# Measured on a 6000 x 6000 Rice file in row tiles: `.section` takes 11 ms a stamp, unpacking it all takes a second.
_UNPACK_ABOVE = 100
_STRIP_PIXELS = 1 << 24
# An image is wider than this; a first axis of so few is one of bands.
_MOST_LAST = 12
# Whether pixels are counts is seen on so many of them, in rows so far apart at first.
_WITNESSES, _APART = 1000, 64
# Mapped files come into memory in pieces of so many bytes, and leave it when a plane has taken so many.
_PIECE_BYTES, _MOST_BYTES = 1 << 16, 1 << 24


class Plane:
    """A two-dimensional image that gives out rectangles.

    Parameters
    ----------
    name : str
        What to call it in errors.
    source : array or astropy section
        Anything two-dimensional (or a cube, with `layer`) that slices.
    header : astropy Header
    layer : tuple of int, optional
        Which layer of a cube, an index for each axis above the two.
    packed : bool
        True where a slice costs much more than its pixels (tile compression).
    owner : object, optional
        What to close with the plane.
    """

    def __init__(self, name, source, header, layer=None, packed=False, owner=None):
        self.name = name
        self.header = header
        self._source = source
        self._layer = layer
        self._packed = packed
        self._owner = owner
        self._file = None
        self._taken = 0
        self.gaps_said = False
        self.shape = tuple(int(size) for size in source.shape[-2:])

    @property
    def hdus(self):
        """The open file, None for what is none."""
        return self._owner

    @functools.cached_property
    def dtype(self):
        """The type of the pixels as read."""
        # A section of astropy states the type in the file; scaled pixels become floats, unsigned ones keep their kind.
        return np.asarray(self._cut(0, 1, 0, 1)).dtype

    @functools.cached_property
    def holds_counts(self):
        """Whether most pixels that are not 0 are whole numbers; of the whole image, however it is read."""
        if self.dtype.kind in "iub":
            return True
        whole = seen = 0
        step = max(1, self.shape[0] // _APART)
        for y in (y for start in range(step) for y in range(start, self.shape[0], step)):
            row = np.asarray(self._cut(y, y + 1, 0, self.shape[1]))
            row = row[np.isfinite(row) & (row != 0)]
            whole, seen = whole + int(np.sum(row == np.round(row))), seen + len(row)
            # The first rows all count: they are spread over the image.
            if seen >= _WITNESSES and y >= (_APART - 1) * step:
                break
        return whole > 0.5 * seen

    @functools.cached_property
    def fills(self):
        """Values that stand for no data, see `galzoo.data.no_data.fills_of`."""
        from galzoo.data.no_data import fills_of

        return fills_of(self)

    @functools.cached_property
    def has_gaps(self):
        """Whether areas of zeros are gaps whatever a noise map says, see `galzoo.data.no_data.has_gaps`."""
        from galzoo.data.no_data import has_gaps

        return has_gaps(self)

    def read(self, y0, y1, x0, x1):
        """Return the pixels [y0, y1) x [x0, x1), which must lie inside."""
        self._taken += (y1 - y0) * (1 + (x1 - x0) * self.dtype.itemsize // _PIECE_BYTES) * _PIECE_BYTES
        if self._taken > _MOST_BYTES:
            release(self._source)
            self._taken = 0
        return self._cut(y0, y1, x0, x1)

    def _cut(self, y0, y1, x0, x1):
        index = (slice(y0, y1), slice(x0, x1))
        index = index if self._layer is None else (*self._layer, *index)
        if not self._packed:
            return self._source[index]
        try:
            return self._source[index]
        except Exception as error:  # each kind of compression has errors of its own
            raise InputError(f"{self.name}: truncated or damaged ({_first_line(error)}); fetch it again") from None

    def expect(self, pieces):
        """Say how many pieces will be read, so that a packed image is unpacked once where that is quicker.

        It goes strip by strip to a temporary file on disk, never whole to memory.
        """
        if not self._packed or pieces <= _UNPACK_ABOVE:
            return
        self._file = tempfile.TemporaryFile(prefix="galzoo-")  # noqa: SIM115 (closed by `close`)
        unpacked = np.memmap(self._file, dtype=self.dtype.newbyteorder("="), mode="w+", shape=self.shape)
        rows = max(1, _STRIP_PIXELS // self.shape[1])
        for y in range(0, self.shape[0], rows):
            top = min(y + rows, self.shape[0])
            unpacked[y:top] = self.read(y, top, 0, self.shape[1])
            release(unpacked)
        self._source, self._layer, self._packed = unpacked, None, False

    def close(self):
        """Let go of the pixels."""
        self._source = None
        for held in (self._owner, self._file):
            if held is not None:
                held.close()
        self._owner = self._file = None


def open_planes(path, names=None, kind="image"):
    """Open every band that a file holds.

    Parameters
    ----------
    path : str or Path
        A FITS file, ``file.fits[EXT]`` (name, number, or name and version of an extension), or a JPEG or PNG picture.
    names : sequence of str, optional
        Bands wanted. Where the file has an image extension of each name, those are taken.
    kind : {"image", "weight", "rms", "variance", "flags", "segmentation", "psf"}
        What is wanted of a file with several images: the one whose name says that it is of this kind.

    Returns
    -------
    list of Plane
        One for an image, one a layer for a cube.

    Raises
    ------
    InputError
        If the file is missing, truncated, no image, lacks the extension, or has several images that may be meant.
    """
    file, extension = split_extension(path)
    check_file(file)
    if is_picture(file):
        return _open_picture(file)
    hdus = open_fits(file)
    try:
        return [
            Plane(str(path), source, of_layer(header, number, source.shape[:-2]), layer or None, packed, hdus)
            for source, header, packed in _images(hdus, file, extension, names or (), kind)
            for number, layer in enumerate(np.ndindex(*source.shape[:-2]))
        ]
    except BaseException:
        hdus.close()
        raise


def of_layer(header, number, shape):
    """Return the header of a layer of a cube: BAND0, BAND1, ... name the bands in cut-outs of the Legacy Surveys."""
    names = [header.get(f"BAND{layer}") for layer in range(int(np.prod(shape)))]
    if "FILTER" in header or not all(isinstance(name, str) and name.strip() for name in names):
        return header
    header = header.copy()
    header["FILTER"] = names[number]
    return header


def is_picture(path):
    """Return whether a path is one of a JPEG or PNG picture: by its name, unless there is FITS in it."""
    file = Path(path)
    if file.suffix.lower() not in _PICTURES:
        return False
    return not (file.is_file() and _first_bytes(file).startswith(b"SIMPLE"))


def _first_bytes(file):
    with open(file, "rb") as stream:
        return stream.read(8)


def _images(hdus, file, extension, names, kind):
    """Return (pixels, header, is packed) of the image extensions that were asked for."""
    from astropy.io import fits

    # Tables of a distortion are no pixels of the sky, and only taken where one is named.
    images = [hdu for hdu in hdus if _is_image(hdu) and hdu.name not in _DISTORTIONS]
    last = next(
        (hdu for hdu in images if len(hdu.shape) == 3 and hdu.shape[-1] <= _MOST_LAST < min(hdu.shape[:-1])), None
    )
    if last is not None and kind != "psf":
        size = " x ".join(map(str, last.shape[::-1]))
        raise InputError(
            f"{file}: a cube of {size} (NAXIS1 first): its bands are on the first axis; bring them to the third"
        )
    if extension is not None:
        images = [get_hdu(hdus, extension, file)]
        if not _is_image(images[0]):
            raise InputError(f"{file}[{extension}]: not an image of 2 or 3 dimensions; the file has {contents(hdus)}")
    if not images:
        model = "; draw its model as an image (of PSFEx's by galsim.des.DES_PSFEx)" if kind == "psf" else ""
        raise InputError(f"{file}: no image of 2 or 3 dimensions in it; it has {contents(hdus)}{model}")
    by_name = {hdu.name.upper(): hdu for hdu in images}
    if extension is None and names and all(str(name).upper() in by_name for name in names):
        images = [by_name[str(name).upper()] for name in names]
    elif extension is None and len(images) > 1 and any(str(name).upper() in by_name for name in names or ()):
        absent = [str(name) for name in names if str(name).upper() not in by_name]
        raise InputError(f"{file}: no extension named {', '.join(absent)}; it has {contents(hdus)}")
    elif len(images) > 1:
        images = [_of_kind(images, kind, file, hdus)]
    found = []
    for hdu in images:
        check_scaling(hdu, file)
        packed = isinstance(hdu, fits.CompImageHDU)
        # Scaled integers and blanks are converted by `.section` piece by piece; a memory map of floats needs nothing.
        plain = not packed and hdu.header["BITPIX"] < 0 and "BSCALE" not in hdu.header and "BZERO" not in hdu.header
        try:
            found.append((hdu.data if plain else hdu.section, full_header(hdus, hdu), packed))
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise InputError(f"{file}: truncated or damaged ({_first_line(error)}); fetch it again") from None
    return found


def check_scaling(hdu, file):
    """Raise `InputError` where what turns stored numbers into pixels is none: astropy raises, or passes over it."""
    whole = hdu.header["BITPIX"] > 0
    for key in ("BSCALE", "BZERO", *(["BLANK"] if whole else [])):
        value = hdu.header.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int if key == "BLANK" else int | float):
            kind = "whole number" if key == "BLANK" else "number"
            raise InputError(f"{file}: {key} is {value!r}, no {kind}; mend that card")


def _is_image(hdu):
    # Axes of length one beyond the third, as radio images have them, hold nothing.
    return hdu.is_image and len(hdu.shape) >= 2 and (len(hdu.shape) <= 3 or np.prod(hdu.shape[:-2]) == 1)


def is_band(name):
    """Return whether an extension of this name may hold pixels of a band, and not noise, flags or the like."""
    kinds = (_OTHERS, *_KINDS.values())
    return not (_ENDINGS.fullmatch(re.split(r"[\W_]+", name)[-1]) or any(pattern.match(name) for pattern in kinds))


def is_generic(name):
    """Return whether an extension of this name is the image of its file, so that others beside it are no bands."""
    return _GENERIC.fullmatch(name) is not None


def _of_kind(images, kind, file, hdus):
    """Return the one image whose name says that it is of a kind."""
    fit = [hdu for hdu in images if (is_band(hdu.name) if kind == "image" else _KINDS[kind].match(hdu.name))]
    fit = [hdu for hdu in fit if kind == "image" and is_generic(hdu.name)] or fit
    if len(fit) != 1:
        raise InputError(f"{file}: {len(images)} images in it, name one as {file}[EXT]: {contents(hdus)}")
    logger.info("%s: %s is read as %s", file, fit[0].name or "the unnamed image", kind)
    return fit[0]


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def _unpack(file):
    """Return the path of a compressed file's content, unpacked to a temporary file; None where it is not compressed.

    Sections of a stream would unpack it from its beginning for every row that is read.
    """
    start = _first_bytes(file)
    kinds = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "lzma"}
    kind = next((kind for magic, kind in kinds.items() if start.startswith(magic)), None)
    if kind is None:
        return None
    with tempfile.NamedTemporaryFile(prefix="galzoo-", suffix=".fits", delete=False) as unpacked:
        try:
            with importlib.import_module(kind).open(file) as stream:
                shutil.copyfileobj(stream, unpacked, _PIECE_BYTES)
        except BaseException as error:
            unpacked.close()
            Path(unpacked.name).unlink()
            if not isinstance(error, OSError | EOFError | ValueError | zlib.error | lzma.LZMAError):
                raise
            raise InputError(f"{file}: truncated or damaged ({_first_line(error)}); fetch it again") from None
    return unpacked.name


def open_fits(file):
    """Open a FITS file, packed or not, with astropy; raise `InputError` where it is none or damaged."""
    from astropy.io import fits

    start = _first_bytes(file)
    other = next((what for magic, what in _OTHER_FILES if start.startswith(magic)), None)
    if other is not None:
        raise InputError(f"{file}: is no FITS file but {other}")
    unpacked = _unpack(file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            hdus = fits.open(unpacked or file)
            if unpacked:
                weakref.finalize(hdus, Path(unpacked).unlink, missing_ok=True)
            len(hdus)
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise InputError(f"{file}: not a readable FITS file ({_first_line(error)}); fetch it again") from None
    if any("truncated" in str(warning.message) for warning in caught):
        hdus.close()
        raise InputError(f"{file}: truncated, the file is shorter than its header says; fetch it again")
    return hdus


def _open_picture(file):
    from astropy.io.fits import Header

    from galzoo.data.pictures import open_picture, scaled_16_bit

    image = open_picture(file, file)
    # Colours of 16 bits keep their steps.
    pixels = np.asarray(image) if image.mode == "RGB" else scaled_16_bit(image)[..., None] * np.ones(3, np.float32)
    return [Plane(file, np.ascontiguousarray(pixels[..., band]), Header()) for band in range(3)]
