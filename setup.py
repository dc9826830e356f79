"""Packaging: everything static is in pyproject.toml; here the two top-level folders become package data."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["galzoo", "galzoo.*"]), "galzoo.zoo_configs", "galzoo.pretrained"],
    package_dir={"galzoo.zoo_configs": "zoo_configs", "galzoo.pretrained": "pretrained"},
    package_data={
        "galzoo": ["models/*/README.md", "models/*/references.bib", "evaluate/*.html"],
        "galzoo.zoo_configs": ["**/*.yaml", "**/*.md"],
        "galzoo.pretrained": ["**/*.keras", "**/*.npz", "**/*.yaml", "**/*.json", "**/*.md", "**/*.png"],
    },
)
