"""The exceptions that galzoo raises on purpose.

Every message is one line that names the file or value at fault and the mend, because the command line prints it as it
stands and exits with code 2.
"""

import re

# What Keras writes about the message of an error in a layer.
_IN_LAYER = (
    re.compile(r"Exception encountered when calling .*?\x1b\[1m(.*)\x1b\[0m\s*Arguments received by .*", re.DOTALL),
    re.compile(r"Could not automatically infer the output shape .* Error encountered:\s*(.*)", re.DOTALL),
)


class GalzooError(Exception):
    """Base class of every error that a user can mend."""

    def __str__(self):
        # KeyError would print the repr of its argument; users should see the sentence.
        text = str(self.args[0]) if self.args else ""
        for pattern in _IN_LAYER:
            found = pattern.fullmatch(text)
            text = found[1] if found else text
        return text


class InputError(GalzooError, ValueError):
    """Data that cannot be used: a file, an array or a catalogue."""


class RecipeError(GalzooError, ValueError):
    """A recipe or a hyper-parameter that is not valid."""


class PresetError(GalzooError, ValueError):
    """A preset that is damaged, incomplete or from another version."""


class UnknownNameError(GalzooError, KeyError):
    """A name (family, preset, recipe, survey, data set) that does not exist."""

    @classmethod
    def of(cls, kind, name, known):
        """Make the error for `name`, with the nearest of the `known` names first."""
        import difflib

        known = sorted(known)
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return cls(f"unknown {kind} {name!r}: {hint}known are {', '.join(known) or 'none'}")


class MissingDependencyError(GalzooError, ImportError):
    """An optional package that the request needs is not installed."""
