"""What the models of priors over galaxies share: the arguments that say of what data they are."""

import keras


class PriorModel(keras.Model):
    """A model that galaxies are drawn from; families that are priors extend it.

    Its constructor hands its arguments to `keep`. Those of all priors are ``bands``, names of the bands in order;
    ``columns``, names of the condition columns (the recipe's ``data.condition``); ``condition_dropout``, the chance in
    training that a column is unknown, and that all are; ``pixel_scale, unit, survey, stamp_size`` of the training
    data, (y, x) pixels, which training fills in.
    """

    # Batches that `adapt` wants: galaxies that open columns of a request are filled from are among them.
    adapt_batches = 32

    def keep(self, **arguments):
        """Keep the arguments of the constructor for `get_config`, and those of all priors as attributes."""
        self._arguments = {
            name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()
        }
        self.bands = tuple(str(band) for band in arguments["bands"])
        self._arguments["bands"] = list(self.bands)
        self.columns = tuple(arguments["columns"])
        self.condition_dropout = float(arguments["condition_dropout"])
        self.pixel_scale, self.unit = float(arguments["pixel_scale"]), arguments["unit"]
        self.survey, size = arguments["survey"], arguments["stamp_size"]
        self.stamp_size = None if size is None else tuple(int(side) for side in size)

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    @property
    def condition_ranges(self):
        """Dict of each condition's (least, greatest) value in training, or of the list of its classes."""
        return self.conditions.ranges
