"""Fit the built-in galaxy population: Gaussian mixtures of a CatSim catalogue's joint distribution.

    python scripts/fit_galaxies.py catsim_onedegsq.fits

writes ``zoo_configs/surveys/populations/catsim.yaml``, which `galzoo.simulate.mixture` draws from. Galaxies with disc
alone, bulge alone and both are three classes; in each the features are those of `galzoo.simulate.mixture.FEATURES`.
"""

import argparse

import numpy as np
import yaml
from sklearn.mixture import GaussianMixture

from galzoo.files import write_text
from galzoo.simulate.galaxies import catsim_population
from galzoo.simulate.mixture import FEATURES, features_of, table_path

NUMBER = {"disc": 8, "bulge": 1, "both": 8}
HEADER = """\
# The built-in galaxy population: Gaussian mixtures fitted to the CatSim OneDegSq catalogue (LSST simulations; Connolly
# et al. 2014, SPIE 9150) by scripts/fit_galaxies.py. Features are described in galzoo/simulate/mixture.py; `cholesky`
# is the lower triangle of each covariance's factor, row by row; draws outside `low` to `high` are discarded.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("catalogue", help="CatSim OneDegSq table, FITS")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    population = catsim_population(arguments.catalogue)
    bulge, disc = population.bulge_fraction > 0, population.bulge_fraction < 1
    members = {"disc": ~bulge, "bulge": ~disc, "both": bulge & disc}
    table = {}
    for name, rows in members.items():
        values = features_of(population[rows], name)
        low, high = np.percentile(values, [0.1, 99.9], axis=0)
        mixture = GaussianMixture(NUMBER[name], reg_covar=1e-4, random_state=arguments.seed, n_init=2)
        mixture.fit(values[np.all((values >= low) & (values <= high), axis=1)])
        triangle = np.tril_indices(values.shape[1])
        table[name] = {
            "features": list(FEATURES[name]),
            "fraction": round(float(rows.mean()), 4),
            "low": _numbers(low),
            "high": _numbers(high),
            "weights": _numbers(mixture.weights_),
            "means": [_numbers(mean) for mean in mixture.means_],
            "cholesky": [_numbers(np.linalg.cholesky(covariance)[triangle]) for covariance in mixture.covariances_],
        }
    write_text(table_path(), HEADER + yaml.safe_dump(table, sort_keys=False, default_flow_style=None, width=118))


def _numbers(values):
    return [float(f"{value:.4g}") for value in values]


if __name__ == "__main__":
    main()
