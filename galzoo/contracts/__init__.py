"""Protocols and result types where models, inference and tasks meet; the lowest floor of the package."""
