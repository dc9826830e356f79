"""Connected pixels above a threshold, taken apart at their peaks, by SEP (SExtractor's algorithms).

References
----------
Bertin & Arnouts 1996, A&AS 117, 393. Barbary 2016, JOSS 1, 58.
"""

import numpy as np

from galzoo.errors import InputError

# Peaks that one footprint may have.
_MOST_PEAKS = 1 << 14


def extract(image, threshold, error, mask=None, least_area=5, levels=32, contrast=0.005, kernel=None, name=""):
    """Extract sources from an image without sky.

    Parameters
    ----------
    image : array, (y, x)
    threshold : float
        In units of `error`.
    error : float or array, (y, x)
        Standard deviation of the noise of a pixel, unit of the image.
    mask : bool array, (y, x), optional
        True = bad.
    least_area : int
        Least number of connected pixels above the threshold.
    levels, contrast : int, float
        Of taking peaks apart, as in SExtractor.
    kernel : array, optional
        Filter of a matched search; SEP's small pyramid without `error` by default.
    name : str
        What to call the image in an error.

    Returns
    -------
    objects : structured array
        SEP's catalogue.
    labels : int32 array, (y, x)
        Number of the object + 1, 0 where there is none.

    Raises
    ------
    InputError
        If SEP gives up, as where a footprint has more peaks than it can hold.
    """
    import sep

    # Its default of 1024 is passed by the middle of a globular cluster.
    sep.set_sub_object_limit(_MOST_PEAKS)
    options = {} if kernel is None else {"filter_kernel": np.asarray(kernel, np.float32), "filter_type": "matched"}
    try:
        return sep.extract(
            np.ascontiguousarray(image), threshold, err=error, mask=mask, minarea=least_area, deblend_nthresh=levels,
            deblend_cont=contrast, segmentation_map=True, **options,
        )  # fmt: skip
    except Exception as failure:  # sep raises plain Exception, e.g. when its pixel buffer is full
        start = f"{name}: " if name else ""
        raise InputError(f"{start}SEP could not extract sources ({failure}); raise the threshold") from None
