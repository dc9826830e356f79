"""Simulations with GalSim, the accurate path: surveys, galaxies, PSFs, noise and stamps."""
