"""Words of any alphabet in the FITS files that are written, which hold ASCII alone."""

import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from galzoo import Stamps
from galzoo.errors import InputError
from galzoo.field.open_field import open_field
from galzoo.field.provenance import catalogue_hdu, provenance
from tests.conftest import make_stamps
from tests.data.test_doors import noise, write


def test_names_of_any_alphabet(tmp_path):
    path = write(tmp_path / "Größe.fits", noise())
    table = QTable({"id": ["α1", "a"], "note": MaskedColumn(["é", "b"], mask=[False, True])})
    table["id"].info.description = "λ"
    with open_field(path) as field:
        assert field.bands == ("band0",)
        header = provenance(field, {"preset": "/home/Jürgen/run", "method": "map"})
    hdu = catalogue_hdu(table, header)
    hdu.writeto(tmp_path / "catalogue.fits")
    assert table["id"][0] == "α1"
    found = Table.read(tmp_path / "catalogue.fits")
    assert found["id"].tolist() == ["\\u03b11", "a"]
    assert found["note"][0] == "\\xe9"
    header = fits.getheader(tmp_path / "catalogue.fits", 1)
    assert (header["PRESET"], header["IMAGE"]) == ("/home/J\\xfcrgen/run", "Gr\\xf6\\xdfe.fits")


@pytest.mark.parametrize("band", ["Hα", "g/SDSS", "", "a\nb"])
def test_bands_that_no_file_could_hold(tmp_path, band):
    with pytest.raises(InputError, match="a.fits: band .* cannot be written to files; name it .--bands. in ASCII"):
        open_field(write(tmp_path / "a.fits", noise()), bands=[band]) if band else open_field(
            write(tmp_path / "a.fits", noise(), FILTER="g/SDSS")
        )
    with pytest.raises(InputError, match="band .* cannot be written to files"):
        Stamps(make_stamps(n=2, bands=("r",)).image, [band], 0.2)
