"""Packaging: everything static is in pyproject.toml; here the two top-level folders become package data."""

from setuptools import find_namespace_packages, find_packages, setup

# Folders without code: setuptools warns of each that is not named as a package.
data = find_namespace_packages(include=["zoo_configs", "zoo_configs.*", "pretrained", "pretrained.*"])

setup(
    packages=[*find_packages(include=["galzoo", "galzoo.*"]), *(f"galzoo.{name}" for name in data)],
    package_dir={"galzoo.zoo_configs": "zoo_configs", "galzoo.pretrained": "pretrained"},
    package_data={
        "galzoo": ["models/*/README.md", "models/*/references.bib", "evaluate/*.html"],
        "galzoo.zoo_configs": ["**/*.yaml", "**/*.md"],
        "galzoo.pretrained": ["**/*.keras", "**/*.npz", "**/*.yaml", "**/*.json", "**/*.md", "**/*.png"],
    },
)
