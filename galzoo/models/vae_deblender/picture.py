"""What is drawn while a VAE deblender trains."""

import numpy as np


def draw_batch(model, batch, path):
    """Draw stamps beside the model's sum of galaxies and the residual, as a PNG.

    Parameters
    ----------
    model : VAEDeblender
    batch : dict
        Of the validation split.
    path : str or Path
    """
    from keras import ops

    from galzoo.viz.colour import to_rgb
    from galzoo.viz.panels import picture_grid, save

    fitted = ops.convert_to_numpy(model(batch)["image"])
    image, variance, mask = (np.asarray(batch[key]) for key in ("image", "variance", "mask"))
    planes = {"stamp": image, "model": fitted, "residual": image - fitted}
    columns = {
        name: [
            to_rgb(plane[row], bands=model.bands, variance=variance[row], mask=mask[row].astype(bool), like=image[row])
            for row in range(len(plane))
        ]
        for name, plane in planes.items()
    }
    save(picture_grid(columns), path)
