"""What a fit of scenes needs of a model whose galaxies are vectors in a latent space."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class GalaxyModel(Protocol):
    """Galaxies of unit flux as functions of latent vectors, an encoder that guesses these, and what is known of both.

    `galzoo.inference.fit` finds the most probable scene, its errors and samples by these methods and attributes alone.
    A galaxy is a base vector, standard normal under the prior, from which a flow makes its latent vector; its profile
    is a sum of concentric Gaussians. Methods on m galaxies take and return tensors, are made of `keras.ops`, are
    compiled by the caller and differentiable, and treat each galaxy alone. Lengths are pixels; images and fluxes have
    any unit, the same in all arguments. `isinstance` checks the methods alone.

    Attributes
    ----------
    bands : tuple of str
        Of the images, in order.
    latent : int
        Length of base and latent vectors.
    model_sigma : float
        Sigma in pixels of the Gaussian that takes the place of the PSF where a batch has none.
    flux_floor : float
        Fraction of a flux, added in quadrature to its error, that profiles of this kind cannot show.
    colours : object or None
        What is known of the fluxes of a galaxy in all bands together: ``colours.site(flux, variance)`` of NumPy arrays
        (n, source, band) returns a quadratic form (n, source, band, band), in inverse units of flux squared, and that
        times its mean (n, source, band).
    """

    def check(self, batch):
        """Raise `galzoo.errors.InputError` if a batch lacks a key that is needed or has other bands."""

    def windows(self, batch, present):
        """Cut out what the encoder sees of each source.

        Parameters
        ----------
        batch : dict of NumPy arrays
            ``image, variance`` (n, y, x, band), ``positions`` (n, source, 2) as x, y and, where present, ``mask`` (True
            = bad) and ``psf`` (n, py, px, band).
        present : bool array, (n, source)
            Which entries are sources.

        Returns
        -------
        noise : array, (n, 1, 1, band)
            Standard deviation of the noise of a pixel.
        arguments : list of arrays, (m, ...)
            Of `look`, a row for each of the m sources that are present, one scene after the other.
        """

    def look(self, *arguments):
        """Return mean and log-deviation (m, latent) of latent vectors and offsets (m, 2) from the given positions."""

    def profiles(self, latent):
        """Return galaxies of unit flux, before the PSF.

        Parameters
        ----------
        latent : tensor, (m, latent)

        Returns
        -------
        weights : tensor, (m, gaussian, band)
            Flux of each Gaussian, of sum 1 a band.
        covariances : tensor, (m, gaussian, 3)
            xx, xy, yy in square pixels.
        size : tensor, (m,)
            Scale of the galaxy in pixels, about its half-light radius: how far out it is fitted.
        """

    def latent_of(self, base, condition):
        """Return the latent vectors (..., latent) of base vectors, same shape, under a condition (..., 1)."""

    def base_of(self, latent, condition):
        """Return the base vectors (..., latent) of latent vectors, same shape, under a condition (..., 1)."""

    def brightness(self, flux, noise):
        """Return the condition of the prior, (n, source, 1), by flux (n, source, band) and noise (n, 1, 1, band)."""

    def render(self, latent, positions, psf, shape):
        """Return galaxies of unit flux as observed, for solvers that want images.

        Parameters
        ----------
        latent : tensor, (n, source, latent)
        positions : tensor, (n, source, 2)
        psf : tensor, (n, py, px, band) or None
            Of unit sum.
        shape : (int, int)
            Size (y, x) in pixels.

        Returns
        -------
        tensor, (n, source, y, x, band)
        """
