"""A scene whose every number can be read from its pixels, for tests of geometry and sources."""

import numpy as np

from galzoo.data.footprints import footprint_boxes, significance
from galzoo.data.scenes import Scenes


def blob(x, y, size, e1=0.0, e2=0.0, sigma=1.0):
    """Return a Gaussian of unit sum with distortion (e1, e2), from +x towards +y."""
    dy, dx = np.mgrid[:size, :size] - np.array([y, x])[:, None, None]
    # Second moments of a distortion: Qxx - Qyy = e1 (Qxx + Qyy), 2 Qxy = e2 (Qxx + Qyy).
    moments = sigma**2 * np.array([[1 + e1, e2], [e2, 1 - e1]])
    inverse = np.linalg.inv(moments)
    square = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    image = np.exp(-0.5 * square)
    return image / image.sum()


def asymmetric_scenes(n=6, size=24, bands=("g", "i"), most=3, seed=0, cutouts=False):
    """Return scenes of 0 to `most` elliptical blobs off the centre; scene k has k modulo (most + 1)."""
    rng = np.random.default_rng(seed)
    counts = np.arange(n) % (most + 1)
    isolated = np.zeros((n, most, size, size, len(bands)), np.float32)
    names = ("scene", "source", "x", "y", "e1", "e2", "half_light_radius", "parent", "kind")
    columns = {name: [] for name in (*names, *(f"flux_{band}" for band in bands))}
    for scene, count in enumerate(counts):
        for source in range(count):
            x, y = rng.uniform(5, size - 8), rng.uniform(7, size - 4)
            e1, e2 = rng.uniform(-0.4, 0.4, 2)
            flux = rng.uniform(200, 900, len(bands))
            isolated[scene, source] = blob(x, y, size, e1, e2)[..., None] * flux
            kind = ("galaxy", "star")[source % 2]
            values = (scene, source, x, y, e1, e2, rng.uniform(0.3, 0.9), f"parent-{rng.integers(40)}", kind, *flux)
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    found = significance(isolated, np.ones((n, 1, len(bands))))
    segmentation = np.where(found.max(axis=1) > 1, found.argmax(axis=1) + 1, 0)
    columns = {name: np.array(values) for name, values in columns.items()}
    extra = {"isolated": isolated}
    if cutouts:
        extra = {"cutouts": []}
        columns |= {name: np.zeros(len(columns["x"]), np.int32) for name in ("cutout_x", "cutout_y")}
        for row, (scene, source) in enumerate(zip(columns["scene"], columns["source"], strict=True)):
            place = np.array([[columns["x"][row], columns["y"][row]]])
            x0, y0, x1, y1 = footprint_boxes(isolated[scene, source][None], np.ones(len(bands)), place)[0] + 0.5
            columns["cutout_x"][row], columns["cutout_y"][row] = x0, y0
            extra["cutouts"].append(isolated[scene, source, int(y0) : int(y1), int(x0) : int(x1)])
    image = isolated.sum(axis=1)
    psf = np.zeros((n, 7, 7, len(bands)))
    psf[:, 2, 3], psf[:, 3, 3], psf[:, 3, 4] = 0.2, 0.5, 0.3
    catalogue = {"id": [f"scene-{row}" for row in range(n)], "depth": rng.uniform(size=n)}
    catalogue |= {f"gain_{band}": np.full(n, 2.0 + number) for number, band in enumerate(bands)}
    catalogue |= {f"sky_{band}": np.full(n, 0.5 + number) for number, band in enumerate(bands)}
    return Scenes(
        image + rng.normal(size=image.shape),
        bands,
        0.2,
        variance=np.ones_like(image),
        psf=psf,
        segmentation=segmentation,
        model=image,
        sources=columns,
        catalogue=catalogue,
        **extra,
    )
