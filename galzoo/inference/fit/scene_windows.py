"""The windows of many scenes: where they lie, their products with images of galaxies, and pictures of these."""

import concurrent.futures
import contextlib
import functools
import warnings

import numpy as np
import threadpoolctl
from keras import ops

from galzoo.inference.fit.deviations import deviations, doubt, needs_refinement
from galzoo.inference.fit.gaussian_profiles import Canvas, Patch
from galzoo.resources import cores

# Pixels around the outermost source that take part in the fit, and sizes of the largest galaxy that do; profiles reach
# beyond, and are known there.
_MARGIN, _SIZES, _WIDEST_MARGIN = 16, 4.0, 48
# In standard deviations of a pixel: as far as a source is brighter it is fitted, up to the widest margin.
_FAINTEST = 0.3
# Windows that would not grow by so much in area are left as they are.
_GROWTH = 1.25
# The same for the pixels beside a window, before light comes in again on the other side.
_PAD, _PAD_SIZES, _WIDEST_PAD = 16, 6.0, 96
# Images of sources reach twice as far and so many pixels more, as the size of an edge-on galaxy is that across it.
_WINGS, _WIDEST_REACH = 16, 128
# Windows have sizes that are multiples of this, where the scene allows it.
_STEP = 8


@contextlib.contextmanager
def workers():
    """Give a pool of threads, each of which leaves the other cores alone."""
    with (
        threadpoolctl.threadpool_limits(1, "blas"),
        concurrent.futures.ThreadPoolExecutor(cores()) as pool,
    ):
        yield pool


class Patches:
    """The fitted parts of the scenes of a batch.

    Parameters
    ----------
    batch : dict
        ``image, variance, positions`` and, where present, ``model_variance``, ``mask`` and ``psf``; NumPy.
    present : bool array, (n, source)
        Which entries are sources.
    sizes : array, (n, source)
        Of the galaxies, pixels.
    model_sigma : float
        Of the frame in which galaxies are where there is no PSF.
    pool : concurrent.futures.Executor
    """

    def __init__(self, batch, present, sizes, model_sigma, pool):
        self.batch, self.present, self.pool, self.model_sigma = batch, present, pool, model_sigma
        self.positions = batch["positions"]
        # Which scene each source belongs to, one scene after the other.
        self.scene = np.nonzero(present)[0]
        self.margin, self.reach, self.pad = self._extent(sizes)
        self.patches = list(pool.map(self._patch, range(len(present))))

    def _extent(self, sizes):
        """Return the margin and reach of scenes, and the pad of their windows, pixels (n,), of the sizes of sources."""
        largest = np.where(self.present, sizes, 0).max(axis=1)
        margin = np.clip(_SIZES * largest, _MARGIN, _WIDEST_MARGIN)
        reach = np.clip(2 * _SIZES * largest, _MARGIN, _WIDEST_REACH - _WINGS) + _WINGS
        limits = np.array(self.batch["image"].shape[2:0:-1]) - 1
        outside = np.maximum(np.maximum(-self.positions, self.positions - limits).max(axis=2), 0)
        outside = np.where(self.present, outside, 0).max(axis=1)
        return margin, reach, np.ceil(np.clip(_PAD_SIZES * largest, _PAD, _WIDEST_PAD) + outside).astype(int)

    def grow(self, profiles, flux):
        """Let more pixels take part in the fit of scenes whose sources have become larger, or shine further out.

        Parameters
        ----------
        profiles : Profiles
            Of all sources, as they are now.
        flux : array, (n, source, band)

        Returns
        -------
        int array
            Scenes with a larger window than before.
        """
        sizes, shine = np.zeros((2, *self.present.shape))
        sizes[self.present] = profiles.moments(profiles.weights.shape[2] // 2)[0][:, 2]
        margin, reach, pad = self._extent(sizes)
        shine[self.present] = profiles.extent(flux[self.present] / self._noise[self.scene] / _FAINTEST)
        margin = np.maximum(margin, np.minimum(shine.max(axis=1), _WIDEST_MARGIN))
        before, after = (
            np.array([np.prod([part.stop - part.start for part in self._window(*one)]) for one in enumerate(margins)])
            for margins in (self.margin, margin)
        )
        rows = np.flatnonzero(after >= _GROWTH * before)
        for old, new in ((self.margin, margin), (self.reach, reach), (self.pad, pad)):
            old[rows] = np.maximum(old[rows], new[rows])
        for row, patch in zip(rows, self.pool.map(self._patch, rows), strict=True):
            self.patches[row] = patch
        return rows

    @functools.cached_property
    def _noise(self):
        """Return the standard deviation of a pixel of each scene and band, (n, band); infinite in bands without one."""
        good = np.isfinite(self.batch["variance"]) & ~self.batch.get("mask", np.False_)
        variance = np.where(good, self.batch["variance"], np.nan).reshape(len(good), -1, good.shape[-1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.sqrt(np.nan_to_num(np.nanmedian(variance, axis=1), nan=np.inf))

    def _patch(self, row):
        window = self._window(row, self.margin[row])
        cut = (np.s_[row, window[0], window[1]],)
        image, variance = (self.batch[key][cut[0]] for key in ("image", "variance"))
        keys = ("mask", "model_variance", "pixel_variance")
        mask, doubted, scatter = (self.batch[key][cut[0]] if key in self.batch else None for key in keys)
        patch = Patch(image, variance, mask, self._psf(row), self.model_sigma, self.pad[row], doubted, scatter)
        patch.corner = np.array([window[1].start, window[0].start])
        return patch

    def _psf(self, row):
        return self.batch["psf"][row] if "psf" in self.batch else None

    def _window(self, row, margin):
        """Return the slices (y, x) of a scene that hold its sources with so many pixels to spare."""
        sources = self.positions[row, self.present[row]]
        shape = self.batch["image"].shape[1:3]
        if not len(sources):
            return tuple(slice(0, min(size, _STEP)) for size in shape)
        low, high = sources.min(axis=0)[::-1], sources.max(axis=0)[::-1]
        slices = []
        for first, last, size in zip(low, high, shape, strict=True):
            length = min(int(np.ceil((last - first + 2 * margin) / _STEP)) * _STEP, size)
            start = int(np.clip(round((first + last - length + 1) / 2), 0, size - length))
            slices.append(slice(start, start + length))
        return tuple(slices)

    def products(self, profiles, offsets, rows=None):
        """Return ``normal``, ``right`` and ``power`` of scenes, see `galzoo.inference.fit.laplace.Normal`.

        Parameters
        ----------
        profiles : Profiles
            Of the sources of the scenes, one scene after the other.
        offsets : array, (m, source, 2)
            From the given positions, of the scenes `rows`.
        rows : int array, (m,), optional
            Which scenes; all by default.
        """
        rows = np.arange(len(self.patches)) if rows is None else rows
        numbers = self.present[rows].sum(axis=1)
        parts = np.split(np.arange(numbers.sum()), np.cumsum(numbers)[:-1])

        def one(job):
            row, part, offset = job
            here = self.present[row]
            patch = self.patches[row]
            return patch.products(profiles[part], (self.positions[row] + offset)[here] - patch.corner)

        terms, bands = profiles.terms, profiles.weights.shape[2]
        most = self.present.shape[1]
        normal = np.zeros((len(rows), bands, most, terms, most, terms))
        right = np.zeros((len(rows), bands, most, terms))
        power = np.zeros((len(rows), bands))
        jobs = zip(rows, parts, offsets, strict=True)
        for place, (row, found) in enumerate(zip(rows, self.pool.map(one, jobs), strict=True)):
            here = np.flatnonzero(self.present[row])
            size = len(here), terms
            normal[place][np.ix_(range(bands), here, range(terms), here, range(terms))] = found[0].reshape(
                bands, *size, *size
            )
            right[place][:, here] = found[1].reshape(bands, *size)
            power[place] = found[2]
        return normal, right, power

    def doubt(self, profiles, offsets, flux):
        """Return by what part of its light each scene may differ from the profiles, (n,).

        Parameters
        ----------
        profiles : Profiles
            Of all sources.
        offsets : array, (n, source, 2)
        flux : array, (n, source, band)
        """

        def estimate(row):
            patch = self.patches[row]
            drawn = self._seen(row, patch.canvas, patch.corner, profiles, offsets, flux)
            return doubt(patch.image, drawn.sum(axis=0), patch.pixel_variance)

        return np.array(list(self.pool.map(estimate, range(len(self.patches)))))

    def draw(self, profiles, offsets, flux, images, places):
        """Draw sources as observed.

        Parameters
        ----------
        profiles : Profiles
            Of all sources.
        offsets : array, (n, source, 2)
        flux : array, (n, source, band)
        images : array, (scenes, source, y, x, band)
            Where to draw, 0 before: large, so written to directly.
        places : int array, (n,)
            Which scenes of `images` these are.
        """

        def draw(row):
            rows, columns = self.wide(row)
            shape = rows.stop - rows.start, columns.stop - columns.start
            canvas = Canvas(shape, self._psf(row), self.model_sigma, self.pad[row])
            drawn = self._seen(row, canvas, [columns.start, rows.start], profiles, offsets, flux)
            images[places[row], : len(drawn), rows, columns] = np.moveaxis(drawn, 1, -1)

        for _ in self.pool.map(draw, np.flatnonzero(self.present.any(axis=1))):
            pass

    def _seen(self, row, canvas, corner, profiles, offsets, flux):
        """Return the sources of a scene on a canvas whose first pixel is `corner` (x, y), (source, band, y, x)."""
        here = self.present[row]
        where = (self.positions[row] + offsets[row])[here] - corner
        drawn = canvas.draw(profiles[np.flatnonzero(self.scene == row)], where)
        drawn *= flux[row, here][:, :, None, None]
        return drawn

    def wide(self, row):
        """Return the slices (y, x) on which images of a scene's sources are drawn."""
        return self._window(row, self.reach[row])

    def refine(self, profiles, offsets, flux, known, images, places, steps):
        """Add to images of sources, in place, what profiles leave in the residual, in scenes where noise does not.

        Parameters
        ----------
        profiles, offsets, flux, images, places
            As of `draw`, which drew the images.
        known : (array, array)
            ``prior`` (n, band * source, band * source) and ``vector`` (n, band, source) of the fluxes, ordered by band,
            then by source: see `galzoo.inference.fit.laplace.Normal`.
        steps : int
            See `galzoo.inference.fit.deviations.deviations`.

        Returns
        -------
        array, (n, source, band)
            Fluxes.
        """
        n, sources, bands = flux.shape
        prior = known[0].reshape(n, bands, sources, bands, sources)
        result = flux.copy()

        def refine(row):
            here, patch = np.flatnonzero(self.present[row]), self.patches[row]
            drawn = images[places[row], : len(here)]
            rows, columns = (slice(a, a + b) for a, b in zip(patch.corner[::-1], patch.canvas.shape, strict=True))
            total = np.moveaxis(drawn[:, rows, columns].sum(axis=0), -1, 0)
            if not needs_refinement(patch.image, total, patch.pixel_variance):
                return
            where = (self.positions[row] + offsets[row])[here] - patch.corner
            mine = profiles[np.flatnonzero(self.scene == row)]
            seen, galaxies = patch.canvas.draw(mine, where), mine.sampled(where, patch.canvas.shape, self.model_sigma)
            part = prior[row][:, here][..., here].reshape(bands * len(here), -1), known[1][row][:, here]
            refined, new, result[row, here] = deviations(patch, seen, galaxies, flux[row, here], part, steps)
            # Beyond the patch there is nothing but profiles.
            drawn *= np.clip(new / np.where(flux[row, here] > 0, flux[row, here], np.inf), 0, 1e3)[:, None, None]
            drawn[:, rows, columns] = np.moveaxis(refined, 1, -1)

        for _ in self.pool.map(refine, np.flatnonzero(self.present.any(axis=1))):
            pass
        return result

    def tensors(self):
        """Return the scenes cut to windows of one size, as tensors: what `galzoo.inference.fit.hmc` samples."""
        shape = np.max([patch.canvas.shape for patch in self.patches], axis=0)
        limits = np.array(self.batch["image"].shape[1:3]) - shape
        corners = np.array([np.clip(patch.corner[::-1], 0, limits) for patch in self.patches])
        cuts = [np.s_[y : y + shape[0], x : x + shape[1]] for y, x in corners]
        keys = [key for key in ("image", "variance", "mask") if key in self.batch]
        part = {key: np.stack([self.batch[key][row][cut] for row, cut in enumerate(cuts)]) for key in keys}
        if "model_variance" in self.batch:
            part["variance"] += np.stack([self.batch["model_variance"][row][cut] for row, cut in enumerate(cuts)])
        part |= {"positions": self.positions - corners[:, None, ::-1].astype("float32"), "present": self.present}
        if "psf" in self.batch:
            part["psf"] = self.batch["psf"].astype("float32")
        return {key: ops.convert_to_tensor(value) for key, value in part.items()}
