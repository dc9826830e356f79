"""Pictures of reconstructions: of a batch while a model trains, and of what a preset is for."""


def draw_batch(model, batch, path):
    """Draw a batch beside its reconstruction; the picture that training leaves behind every few epochs."""
    from galzoo.data.stamps import Stamps
    from galzoo.tasks.reconstruct.run import reconstruct
    from galzoo.viz.panels import reconstruction_panel, save

    planes = {key: batch[key] for key in ("image", "variance", "mask", "truth", "psf") if key in batch}
    stamps = Stamps(**planes, bands=model.bands, pixel_scale=1.0, unit="")
    save(reconstruction_panel(stamps, reconstruct(model, stamps, refine_steps=0)), path)
