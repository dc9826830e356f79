"""Layers that families share: the telescope's forward model, quantisers and convolution blocks."""
