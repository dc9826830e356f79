"""Estimates that combine a model's answer with the data: likelihood refinement of model-frame images."""
