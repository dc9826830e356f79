"""Find pictures of the same galaxy, so that they never fall on both sides of a split.

Where positions are known they decide. Elsewhere pictures are compared after taking out what all galaxies share: the
part that is symmetric under a turn by 180 degrees, and large scales. What is left (neighbours, arms, dust, and for
cut-outs of one survey even the noise) is a fingerprint of the field. Pictures must have one orientation; scales may
differ.
"""

import numpy as np

# Stamps nearer than this share sky: 64 pixels of 0.396 arcsec.
OVERLAP_ARCSEC = 25.0
# Measured on SDSS pictures: the same picture zoomed, moved by half a pixel, stretched and coded again has 0.55 or more
# in 93 of 100 cases; of 60 million chance pairs a few reach 0.55, all edge-on galaxies at one angle. The pairs of EFIGI
# and Galaxy Zoo 1 above it were confirmed by eye. A false pair costs nothing but a common split.
THRESHOLD = 0.55
SCALES = 1.07 ** np.arange(13)
_SIDE = 48
_ROWS = 2048
# Large scales differ with the stretch and the sky; one bright star must not be the whole fingerprint.
_SMOOTH_PIXELS = 3.0
_CLIP_MADS = 2.0


def fingerprints(images, scale=1.0, side=_SIDE):
    """Reduce pictures to unit vectors that tell fields apart.

    Parameters
    ----------
    images : array, (n, y, x, band)
    scale : float
        Enlarge the centre by this factor first.
    side : int
        Pixels of the reduced picture.

    Returns
    -------
    float32 array, (n, side * side)
        Antisymmetric part of the luminance under a turn by 180 degrees, without large scales, clipped, of unit norm;
        0 for a symmetric picture.
    """
    from scipy.ndimage import gaussian_filter

    rows, columns = (_averaging(size, size / scale, side) for size in images.shape[1:3])
    result = np.empty((len(images), side * side), np.float32)
    for start in range(0, len(images), _ROWS):
        part = images[start : start + _ROWS].mean(axis=-1, dtype=np.float32)
        small = rows @ part @ columns.T
        odd = small - small[:, ::-1, ::-1]
        odd = (odd - gaussian_filter(odd, (0, _SMOOTH_PIXELS, _SMOOTH_PIXELS))).reshape(len(part), -1)
        limit = _CLIP_MADS * np.median(np.abs(odd), axis=1, keepdims=True)
        odd = np.clip(odd, -limit, limit)
        result[start : start + _ROWS] = odd / np.maximum(np.linalg.norm(odd, axis=1, keepdims=True), 1e-6)
    return result


def _averaging(size, width, n):
    """Return the (n, size) matrix that averages the middle `width` pixels of `size` into n equal intervals."""
    edges = size / 2 + width * (np.arange(n + 1) / n - 0.5)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) / (width / n)).astype(np.float32)


def same_pictures(first, second=None, scales=SCALES, threshold=THRESHOLD):
    """Find pairs of pictures that show the same field.

    Parameters
    ----------
    first, second : array, (n, y, x, band) and (m, y, x, band)
        Two sets; one set against itself where `second` is None.
    scales : sequence of float
        Relative scales to try, from 1 up; both sets are enlarged in turn.
    threshold : float
        Least correlation of the fingerprints.

    Returns
    -------
    pairs : int array, (k, 2)
        Row in `first` and in `second`.
    correlation : float array, (k,)
    """
    best = {}
    alone = second is None
    plain = fingerprints(first)
    other = plain if alone else fingerprints(second)
    for scale in (1.0,) if alone else scales:
        for turned in (False,) if scale == 1 else (False, True):
            left = plain if not turned else fingerprints(first, scale)
            right = other if turned or scale == 1 else fingerprints(second, scale)
            for start in range(0, len(left), _ROWS):
                correlation = left[start : start + _ROWS] @ right.T
                for i, j in np.argwhere(correlation > threshold):
                    pair = int(i) + start, int(j)
                    if not alone or pair[0] < pair[1]:
                        best[pair] = max(best.get(pair, -1.0), float(correlation[i, j]))
    pairs = sorted(best)
    return np.array(pairs, int).reshape(-1, 2), np.array([best[pair] for pair in pairs])


def same_sky(ra, dec, radius):
    """Find pairs of positions within `radius` arcsec; NaN positions match nothing.

    Parameters
    ----------
    ra, dec : array, (n,)
        Degrees.

    Returns
    -------
    int array, (k, 2)
    """
    from scipy.spatial import cKDTree

    ra, dec = np.deg2rad(np.asarray(ra, float)), np.deg2rad(np.asarray(dec, float))
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    ra, dec = ra[known], dec[known]
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
    if len(points) < 2:
        return np.zeros((0, 2), int)
    chord = 2 * np.sin(np.deg2rad(radius / 3600) / 2)
    return known[cKDTree(points).query_pairs(chord, output_type="ndarray").reshape(-1, 2)]


def find_duplicates(images, table, threshold=THRESHOLD, overlap=OVERLAP_ARCSEC):
    """Find every pair of rows that show the same galaxy or share sky.

    Parameters
    ----------
    images : array, (n, y, x, band)
    table : Table
        Columns ``source``, and ``ra``, ``dec`` (NaN where unknown).

    Returns
    -------
    int array, (k, 2)
        Rows, the lower first.
    """
    degrees = [np.asarray(getattr(table[name], "value", table[name]), float) for name in ("ra", "dec")]
    found = [np.sort(same_sky(*degrees, overlap), axis=1)]
    source = np.asarray(table["source"]).astype(str)
    rows = [np.flatnonzero(source == name) for name in dict.fromkeys(source.tolist())]
    for number, left in enumerate(rows):
        found.append(left[same_pictures(images[left], threshold=threshold)[0]])
        for right in rows[number + 1 :]:
            pairs, _ = same_pictures(images[left], images[right], threshold=threshold)
            found.append(np.stack([left[pairs[:, 0]], right[pairs[:, 1]]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def common_names(names, pairs):
    """Give all that are joined by pairs the name of the first of them.

    Returns
    -------
    array of str, (n,)
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    names = np.asarray(names).astype(str)
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(names),) * 2)
    _, group = connected_components(links, directed=False)
    _, first = np.unique(group, return_index=True)
    return names[first][group]
