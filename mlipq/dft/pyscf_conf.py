"""What PySCF reads in the labeling child in place of the user's own ``.pyscf_conf.py``: nothing, so that labels do not depend on that."""
