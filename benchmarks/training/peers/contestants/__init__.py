"""Contestants: one module a library, which imports that library, NumPy, torch and the molecules alone.

A module has ``PACKAGES``, whose versions are reported, ``SIZES``, what the models that may take part are built with, and a class::

    contestant = Contestant(molecules, size, forces=False, compiled=False)
    contestant.module             # torch.nn.Module: what is trained
    contestant.batch(rows)        # some molecules, by the library's own collate, from neighbour lists found once
    contestant.predict(batch)     # energies (S,); with ``forces`` energies and forces (N, 3)

All predict one number of order one for a molecule: what the composition leaves of its energy, in a unit that is the same for all.
"""
