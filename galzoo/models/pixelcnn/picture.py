"""What is drawn while a PixelCNN trains."""

import numpy as np


def draw_samples(model, batch, path):
    """Draw galaxies of a batch above galaxies that a prior makes for the same conditions, while it trains."""
    from galzoo.data.stamps import Stamps
    from galzoo.simulate.observe import observe
    from galzoo.viz.page import page
    from galzoo.viz.panels import save

    n = len(batch["image"])
    wanted = model.conditions.by_name(batch.get("condition"))
    size = batch["image"].shape[1:3]
    drawn = observe(model.sample(n, wanted, size=size))
    real = np.asarray(batch["truth" if model.shows_truth else "image"])
    if drawn.image.dtype == np.uint8:
        real = np.round(np.clip(real, 0, 255)).astype(np.uint8)
    both = Stamps(
        np.concatenate([real, drawn.image]), bands=model.bands, pixel_scale=model.pixel_scale, unit=model.unit
    )
    save(page(both, title="training galaxies, then samples for the same conditions"), path)
