"""One structure to labels by GFN1-xTB: BLAS choice, single point, orbital charges, retry ladder, checks."""

from mlipq.xtb.labeler import Gfn1

__all__ = ["Gfn1"]
