"""Time the simulation of stamps: stamps per second, and what a second process brings.

    python scripts/bench_simulate.py --output bench_simulate.json

prints a table and writes the JSON file. Times are of whole files: start of the processes,
drawing, compression and writing.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from galzoo.files import write_json
from galzoo.simulate.stamps import StampSpec, make_simulated

CASES = {
    "CANDELS F160W 84 px": StampSpec(survey="CANDELS", bands=("F160W",), stamp_size=84),
    "LSST ugrizy 64 px": StampSpec(survey="LSST", reference="i", stamp_size=64),
}


def measure(spec, n, processes):
    """Return seconds for `n` stamps of `spec` with `processes` processes."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        make_simulated(Path(folder) / "stamps.h5", n, spec, processes=processes)
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--n", type=int, default=1200, help="stamps in each file")
    arguments = parser.parse_args()
    table = Table("case", "processes", "stamps/s", "stamps/s/process", "ratio to one")
    results = []
    for name, spec in CASES.items():
        alone = None
        for processes in (1, 2):
            rate = arguments.n / measure(spec, arguments.n, processes)
            alone = alone or rate
            results.append({"case": name, "processes": processes, "stamps_per_second": rate, "ratio": rate / alone})
            table.add_row(name, str(processes), f"{rate:.1f}", f"{rate / processes:.1f}", f"{rate / alone:.2f}")
    Console().print(table)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "platform": platform.platform()}
    write_json(arguments.output, {"n": arguments.n, "machine": machine, "results": results})


if __name__ == "__main__":
    main()
