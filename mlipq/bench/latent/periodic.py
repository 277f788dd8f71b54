"""Where the metals of the d block stand in the periodic table."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_BEFORE_GROUP_1 = {4: 18, 5: 36, 6: 68}
"""By period: Z less the number of the group, for groups 4 to 12; in period 6 the lanthanides stand between."""

GROUP = {z + group: group for z in _BEFORE_GROUP_1.values() for group in range(4, 13)} | {21: 3, 39: 3, 57: 3}
"""Group of each metal of the d block, 3 to 12, by atomic number: Sc to Zn, Y to Cd, La, Hf to Hg."""
PERIOD = {z: 4 if z < 31 else 5 if z < 49 else 6 for z in GROUP}
"""Its period, 4 to 6."""

Grouping = Literal["group", "period"]
GROUPINGS: dict[Grouping, dict[int, int]] = {"group": GROUP, "period": PERIOD}
"""Ways to sort the metals."""

_METALS = np.array(sorted(GROUP), dtype=np.int64)


def is_metal(atomic_numbers: NDArray) -> NDArray[np.bool_]:
    """Return which atoms are metals of the d block."""
    return np.isin(atomic_numbers, _METALS)
