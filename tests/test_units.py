import json
import math
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from qernel.lattice import triangular
from qernel.systems.moire import Material

REFERENCE = json.loads((pathlib.Path(__file__).parent / "reference" / "units.json").read_text())


@pytest.mark.parametrize("dielectric", [5.0, 10.0])
def test_reference_values(dielectric):
    material = Material(dielectric=dielectric)
    expected = REFERENCE["values"][str(dielectric)]
    np.testing.assert_allclose(material.bohr_nm, expected["aB_star_nm"], rtol=1e-12)
    np.testing.assert_allclose(material.hartree_meV, expected["Ha_star_meV"], rtol=1e-12)
    np.testing.assert_allclose(material.lattice_constant, expected["a_M_in_aB_star"], rtol=1e-12)
    np.testing.assert_allclose(material.to_hartree(1.0), expected["meV_in_Ha_star"], rtol=1e-12)
    area = triangular(material.lattice_constant).volume
    np.testing.assert_allclose(area * material.bohr_nm**2, expected["moire_cell_area_nm2"], rtol=1e-12)
    for filling, value in (("1/3", 1 / 3), ("2/3", 2 / 3), ("1", 1.0)):
        r_s = math.sqrt(area / (math.pi * value))
        np.testing.assert_allclose(r_s, expected["rs"][filling], rtol=1e-12)
    # The two scales in meV nm that appear in the literature.
    np.testing.assert_allclose(
        0.5 * material.hartree_meV * material.bohr_nm**2, expected["hbar2_2m_meV_nm2"], rtol=1e-12
    )
    np.testing.assert_allclose(material.hartree_meV * material.bohr_nm, expected["e2_4pieps_meV_nm"], rtol=1e-12)


def test_defaults_are_wse2_ws2():
    material = Material()
    assert (material.effective_mass, material.dielectric) == (0.35, 5.0)
    assert material.lattice_constant_nm == REFERENCE["a_M_nm"]


def test_round_trips():
    material = Material(effective_mass=0.5, dielectric=7.0)
    for value in (1.7, np.array([1.0, 2.0]), jnp.array([1.0, 3.0])):
        np.testing.assert_allclose(material.to_meV(material.to_hartree(value)), value, rtol=1e-15)
        np.testing.assert_allclose(material.to_nm(material.to_bohr(value)), value, rtol=1e-15)
    assert material.to_bohr(jnp.ones(2, jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize(
    "field, name",
    [
        ("effective_mass", "effective mass"),
        ("dielectric", "dielectric constant"),
        ("lattice_constant_nm", "lattice constant"),
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_unphysical_material(field, name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        Material(**{field: value})
