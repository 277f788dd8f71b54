"""Write down e3nn's change of basis and Wigner matrices for the orbital moments.

    python -m venv e3nn-venv
    e3nn-venv/bin/pip install torch==2.13.0 e3nn==0.6.0
    e3nn-venv/bin/python make_e3nn_values.py   # writes e3nn_values.json beside this file

Conventions, as found in e3nn 0.6.0: the components of ``1o`` are x, y, z, as in a Cartesian vector, so D_1(R) = R. Those of
``2e`` are xz, xy, (y²-(x²+z²)/2)/√3, yz, (z²-x²)/2, all with the same factor: the polar axis is y. tblite's order y, z, x and
xy, yz, z², xz, x²-y² is the same list for axes renamed by M below. A rotation R takes a vector of irrep l to D_l(R) @ v.
"""

import json
from pathlib import Path

import e3nn
import torch
from e3nn import o3

VALUES = Path(__file__).with_name("e3nn_values.json")
AXES = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
"""M: (x, y, z) → (y, z, x)."""
MOMENTS = o3.Irreps("3x0e+2x2e+1x4e")


def change_of_basis(irrep: str) -> dict[str, object]:
    """Return the orthonormal map from a symmetric matrix to irreps, ``moments[k] = Q[k, i, j] * block[i, j]``."""
    product = o3.ReducedTensorProducts("ij=ji", i=irrep)
    return {"irreps": str(product.irreps_out), "matrix": product.change_of_basis.tolist()}


def wigner(l: int, rotation: torch.Tensor) -> list[list[float]]:
    """Return D_l of a rotation matrix, for even parity: the moments do not change sign under inversion."""
    return o3.Irrep(l, 1).D_from_matrix(rotation).tolist()


def main() -> None:
    """Write the JSON in full float64 precision."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    rotations = [o3.rand_matrix() for _ in range(3)]
    values = {
        "program": f"e3nn {e3nn.__version__}, torch {torch.__version__}",
        "Q_p": change_of_basis("1x1o"),
        "Q_d": change_of_basis("1x2e"),
        "M": AXES.tolist(),
        "D_1(M)": wigner(1, AXES),
        "D_2(M)": wigner(2, AXES),
        "moments": str(MOMENTS),
        "rotations": [
            {
                "R": rotation.tolist(),
                "D": {str(l): wigner(l, rotation) for l in range(5)},
                "D_moments": MOMENTS.D_from_matrix(rotation).tolist(),
            }
            for rotation in rotations
        ],
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    VALUES.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
