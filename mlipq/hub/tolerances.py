"""How far labels may lie apart that were made again, on another machine or with another BLAS, and still be the same.

Measured by ``python -m benchmarks.labeling.remade`` on 514 bundled structures, with the reference BLAS, three kinds of OpenBLAS kernels
and a C library without fused multiply-add: the largest difference of any number is in the comment. Each tolerance is more than ten times that.
PBE's were not made again like this; they are more than ten times what its convergence to 1e-9 Hartree left of a few molecules.
"""

TOLERANCES: dict[str, float] = {
    "gfn1/energy": 1e-6,  # eV; 1.4e-8
    "gfn1/forces": 1e-4,  # eV/Å; 3.6e-6
    "gfn1/atomic_charges": 1e-3,  # e; 6.0e-5
    "gfn1/orbital_charges": 1e-3,  # e; 5.9e-5
    "gfn1/orbital_moments": 1e-3,  # e; 2.7e-5
    "gfn1/dipole": 1e-4,  # e·Å; 6.0e-6
    "gfn1/homo_lumo_gap": 1e-4,  # eV; 9.5e-7
    "pbe/energy": 1e-4,
    "pbe/forces": 1e-3,
    "pbe/atomic_charges": 1e-3,
    "pbe/orbital_charges": 1e-3,
    "pbe/dipole": 1e-3,
    "pbe/homo_lumo_gap": 1e-3,
}
"""By array, in its unit. Whatever is not here was not computed by mlipq, and must be equal to the last bit."""
