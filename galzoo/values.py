"""Values that are typed as ``key=value``, and recipes: YAML without its traps."""

import numbers
import re

import yaml

from galzoo.errors import InputError


class _Ambiguous(ValueError):
    """A value that may be meant in two ways."""


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are truth, 1e-3 is a number, 12:30 is text, and a key is there once."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (as in its parent)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise _Ambiguous(f"the key {key.value!r} is there twice; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_INTEGER = r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+"
_REAL = r"[-+]?([0-9][0-9_]*\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.?(inf|Inf|INF)|\.?(nan|NaN|NAN)"
for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", _INTEGER, "-+0123456789"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
    ("real", f"(?!0[0-9])(?:{_REAL})", "-+0123456789.inIN"),
    # Words that YAML 1.1 takes for true and false, among them the code of Norway.
    ("word", "(?i:yes|no|on|off)", "yYnNoO"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _real(loader, node):
    return float(node.value.replace("_", "").replace(".inf", "inf").replace(".nan", "nan").lower())


def _word(loader, node):
    raise _Ambiguous(f'{node.value} may be a word or a truth; write true or false, or "{node.value}" for the word')


_Loader.add_constructor("tag:yaml.org,2002:real", _real)
_Loader.add_constructor("tag:yaml.org,2002:word", _word)


def parse_value(text):
    """Return the value of ``key=value``: number, true, false, null, text as it stands, or YAML in [], {} or quotes.

    Raises
    ------
    ValueError
        If brackets or quotes cannot be read, or the text may be meant in two ways; one line that says why.

    Examples
    --------
    >>> parse_value("1e-3"), parse_value("/data/run #2/a: b.h5"), parse_value("[g, r]")
    (0.001, '/data/run #2/a: b.h5', ['g', 'r'])
    """
    text = text.strip()
    if text[:1] + text[-1:] in ("[]", "{}") or (len(text) > 1 and text[0] == text[-1] and text[0] in "'\""):
        if re.search(r"\s#", re.sub(r"\"[^\"]*\"|'[^']*'", "", text)):
            raise ValueError("a blank and # begin a comment; put the text that has them in quotes")
        return load_yaml(text)
    closes = {"[": "]", "{": "}"}.get(text[:1])
    if closes and text.count(text[0]) != text.count(closes):
        raise ValueError(f"{text[0]} is not closed; close it, or put text in quotes")
    # A plain scalar has no structure, whatever signs are in it.
    node = yaml.ScalarNode(_Loader("").resolve(yaml.ScalarNode, text, (True, False)), text)
    loader = _Loader("")
    return text if node.tag == "tag:yaml.org,2002:str" else loader.construct_object(node)


def split_numbers(text):
    """Return the numbers of "20,26" or "20:26"; none where one of them is no number.

    Examples
    --------
    >>> split_numbers("18:25.5"), split_numbers("7"), split_numbers("18,faint")
    ([18.0, 25.5], [7.0], [])
    """
    try:
        return [float(part) for part in re.split("[,:]", text)]
    except ValueError:
        return []


def load_yaml(text):
    """Read YAML; raise `ValueError` with one line where it cannot be read or may be meant in two ways."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (the loader is a safe one)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def check_numbers(options, defaults, name):
    """Refuse options that are no numbers where numbers are meant, such as "two".

    Parameters
    ----------
    options : dict
    defaults : dict
        Of the same names; where one is a number, so must the option be, and one of the same kind.
    name : str
        What the options are of, for messages.

    Raises
    ------
    InputError
    """
    for key, value in options.items():
        default = defaults.get(key)
        kinds = {
            bool: (bool, "true or false"),
            int: (numbers.Integral, "a whole number"),
            float: (numbers.Real, "a number"),
        }
        kind, words = kinds.get(type(default), (object, ""))
        odd = not isinstance(value, kind) or (isinstance(value, bool) and type(default) in (int, float))
        if odd and not (default is not None and value is None):
            raise InputError(f"{name}: {key} is {value!r}; give {words}")
        if key.endswith("seed") and value is not None and value < 0:
            raise InputError(f"{name}: {key} is {value}; give 0 or more")
