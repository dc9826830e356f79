"""Which stamps the picture of a reconstruction shows."""

import numpy as np
from astropy.table import QTable

from galzoo.data.stamps import Stamps
from galzoo.tasks.reconstruct.products import shown_rows


def stamps(n=12, **columns):
    """Return stamps whose brightness falls with their row, of which the brightest four are half masked."""
    image = np.ones((n, 8, 8, 1), np.float32) * np.arange(n, 0, -1)[:, None, None, None]
    mask = np.zeros(image.shape, bool)
    mask[:4, :4] = True
    return Stamps(image, ["r"], 0.2, mask=mask, catalogue=QTable({"id": np.arange(n), **columns}))


def test_the_brightest_whole_stamps_are_shown():
    assert shown_rows(stamps(), 2).tolist() == [4, 5]
    # As far as there are such.
    assert shown_rows(stamps(), 4).tolist() == [0, 1, 2, 3]
    assert shown_rows(stamps(snr=np.arange(12.0)), 2).tolist() == [10, 11]
    assert shown_rows(stamps(), 40).tolist() == list(range(12))


def test_without_masks_brightness_alone_counts():
    plain = stamps()
    plain.mask = None
    plain.image[7] = np.nan
    plain.image[9] = 100
    assert shown_rows(plain, 2).tolist() == [0, 9]
