"""The table of fits, in the order in which they run.

Init comes after network, which asks whether one will be written that brings it up; units after all that make or
enable one.
"""

from lxcast.rootfs.fits import boot, engine, init, network, release, ssh, units
from lxcast.rootfs.fits import directories as folders

FITS = (
    *engine.FITS,
    *release.FITS,
    *folders.FITS,
    *network.FITS,
    *init.FITS,
    *ssh.FITS,
    *boot.FITS,
    *units.FITS,
)
