"""One structure to labels by density-functional theory: PBE/def2-SVP single points by PySCF, charges, retry ladder, checks."""

from mlipq.dft.labeler import Pbe

__all__ = ["Pbe"]
