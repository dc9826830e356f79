"""PSFs of images in memory and in files: of the right shape, of unit sum, and one for every image; NumPy alone."""

import numpy as np

from galzoo.errors import InputError


def check_psf(psf, index, n, bands, of="stamps", nearly=0.0):
    """Return PSFs of unit sum and which of them belongs to each of `n` images, or raise an error.

    Parameters
    ----------
    psf : array, (m, y, x, band)
        Sums near 1.
    index : int array, (n,), or None
        Not needed for m = n or m = 1.
    n, bands : int
        Number of images and of bands.
    of : str
        What the images are, for messages.
    nearly : float
        PSFs whose sums are no further from 1 are left as they are, in no second copy.

    Returns
    -------
    psf : float32 array, (m, y, x, band)
    index : int32 array, (n,)

    Raises
    ------
    InputError
        If shapes do not fit, or a sum is not finite or off by more than a fifth.
    """
    psf = np.asarray(psf, dtype=np.float32)
    if psf.ndim != 4 or psf.shape[-1] != bands:
        raise InputError(f"psf has shape {psf.shape}; it must be (m, y, x, band) with {bands} bands")
    m = len(psf)
    if index is None:
        if m not in (1, n):
            raise InputError(f"{m} PSFs for {n} {of}; give psf_index, one PSF, or one each")
        index = np.arange(n) if m == n else np.zeros(n)
    if np.any(np.asarray(index) != np.round(index)):
        raise InputError("psf_index holds fractions; give whole numbers")
    index = np.asarray(index, dtype=np.int32)
    if index.shape != (n,) or (n and not 0 <= index.min() <= index.max() < m):
        raise InputError(f"psf_index must hold {n} numbers from 0 to {m - 1}")
    total = psf.sum(axis=(1, 2), dtype=np.float64)
    if not np.all(np.isfinite(total)) or np.any(np.abs(total - 1) > 0.2):
        worst = total.flat[np.argmax(np.abs(np.nan_to_num(total, nan=np.inf) - 1))] if total.size else 0
        raise InputError(f"psf sums to {worst:.4g}, not 1; normalise it (and check that its background is 0)")
    if total.size and np.abs(total - 1).max() <= nearly:
        return psf, index
    return (psf / total[:, None, None, :]).astype(np.float32), index
