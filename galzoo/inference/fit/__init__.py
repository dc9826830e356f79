"""Scenes of galaxies with a latent space, fitted to the data through PSF and noise; see `GalaxyModel`."""
