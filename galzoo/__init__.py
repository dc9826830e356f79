"""galzoo: a Keras 3 model zoo for overlapping galaxies and stars.

Everything is imported when it is first used, so that ``import galzoo`` and ``galzoo list`` never wait for a back end.
"""

from galzoo.lazy import publish

__version__ = "0.1.0"

_PUBLIC = {
    "load": "galzoo.presets",
    "load_card": "galzoo.presets",
    "list_presets": "galzoo.presets",
    "list_families": "galzoo.registry",
    "list_recipes": "galzoo.recipe",
    "load_recipe": "galzoo.recipe",
    "Stamps": "galzoo.data.stamps",
    "Scenes": "galzoo.data.scenes",
    "GalzooError": "galzoo.errors",
}
__all__ = ["__version__", *_PUBLIC]
__getattr__, __dir__ = publish(__name__, _PUBLIC)
