"""What is drawn while a score prior trains."""

import numpy as np


def draw_samples(model, batch, path):
    """Draw galaxies of a batch above galaxies that a prior draws for the same conditions, while it trains."""
    from galzoo.data.stamps import Stamps
    from galzoo.viz.page import page
    from galzoo.viz.panels import save

    n = len(batch["image"])
    drawn = model.sample(n, model.conditions.by_name(batch.get("condition")), size=batch["image"].shape[1:3])
    real = np.asarray(batch["truth" if model.noiseless else "image"])
    images = np.concatenate([real, drawn.image])
    # Display-stretched pictures have no unit; stretched once more they would be noise and neon.
    images = images if model.unit else np.round(np.clip(images, 0, 255)).astype(np.uint8)
    both = Stamps(images, bands=model.bands, pixel_scale=model.pixel_scale, unit=model.unit)
    save(page(both, title="training galaxies, then samples for the same conditions"), path)
