"""The families: one folder each, found by `galzoo.registry`."""
