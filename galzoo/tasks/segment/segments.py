"""Sources of a field whose pixels have classes: what is not background, taken apart at its peaks of light.

References
----------
Hausen & Robertson 2020, ApJS 248, 20 (arXiv:1906.11248), section 4.
"""

import numpy as np
from scipy import ndimage

THRESHOLD = 0.5
"""Share of votes for the background up to which a pixel is certainly a source's. As published it is 0; on simulated HST
scenes this one finds a sixth more sources, as many of them true."""
# A source has at most so many peaks.
_MOST_PEAKS = 20


def find_segments(background, valid, threshold=THRESHOLD):
    """Return a label image of what is not background.

    Pixels that all windows call background, and those that at most `threshold` of them do, are seeds; a watershed on
    the gradient of the background's votes shares out what lies between. Each patch of pixels that are not certainly
    background is flooded by itself, so a field may be of any size.

    Parameters
    ----------
    background : float array, (y, x)
        Share of votes for the background.
    valid : bool array, (y, x)
        Where any window voted.
    threshold : float
        From 0 to below 1; higher ones find more, and fainter, sources.

    Returns
    -------
    int32 array, (y, x)
        Number of the segment, from 1; 0 is background, -1 where nothing voted.
    """
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    patches, _ = ndimage.label(valid & (background < 1))
    labels = np.zeros(background.shape, np.int32)
    labels[~valid] = -1
    count = 0
    for number, box in enumerate(ndimage.find_objects(patches), 1):
        # Two pixels around: the gradient at the patch's rim needs one beyond it.
        box = tuple(
            slice(max(part.start - 2, 0), min(part.stop + 2, size))
            for part, size in zip(box, labels.shape, strict=True)
        )
        votes, own = background[box], patches[box] == number
        source = own & (votes <= threshold)
        if not source.any():
            continue
        markers = np.where(source, 2, np.where((votes == 1) & valid[box], 1, 0))
        flooded = watershed(sobel(votes), markers, mask=valid[box]) == 2
        found, most = ndimage.label(flooded & own)
        labels[box] = np.where(found > 0, found + count, labels[box])
        count += most
    return labels


def split_segments(labels, flux, distance=20):
    """Take segments with several peaks of light apart; numbers are given anew, from the bottom up.

    Parameters
    ----------
    labels : int32 array, (y, x)
        Of `find_segments`; changed in place.
    flux : float array, (y, x)
        Light in the band that peaks are looked for in.
    distance : int
        Peaks that are nearer, in pixels along either axis, are one source; 0 takes nothing apart.

    Returns
    -------
    int32 array, (y, x)
    """
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    boxes = ndimage.find_objects(np.maximum(labels, 0))
    count = len(boxes)
    for number, box in enumerate(boxes, 1) if distance else ():
        own = labels[box] == number
        if max(own.shape) <= distance:
            continue
        light = np.where(own, flux[box], 0)
        peaks = peak_local_max(light, min_distance=distance, num_peaks=_MOST_PEAKS, exclude_border=False)
        if len(peaks) < 2:
            continue
        markers = np.zeros(own.shape, np.int32)
        markers[tuple(peaks.T)] = count + np.arange(1, len(peaks) + 1)
        labels[box] = np.where(own, watershed(-light, markers, mask=own), labels[box])
        count += len(peaks)
    found, first = np.unique(labels[labels > 0], return_index=True)
    new = np.zeros(count + 1, np.int32)
    new[found[np.argsort(first, kind="stable")]] = np.arange(1, len(found) + 1)
    return np.where(labels > 0, new[np.maximum(labels, 0)], labels)
