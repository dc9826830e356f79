"""Write the self-test of presets that are there, which `galzoo verify` runs; all packaged ones by default.

python scripts/make_selftests.py [PRESET ...]
"""

import argparse
import sys

from galzoo.presets import list_presets
from galzoo.selftest import write_selftest


def main():
    """Write the self-tests that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", help="names or folders")
    for name in parser.parse_args().presets or list_presets():
        path = write_selftest(name)
        sys.stdout.write(f"{path} {path.stat().st_size / 1000:.1f} kB\n")


if __name__ == "__main__":
    main()
