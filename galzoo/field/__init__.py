"""A sky image of any size, whatever the task: opening, background, PSF, detection, tiles, windows, photometry."""
