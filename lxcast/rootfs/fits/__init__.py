"""The table of fits, in the order in which they run: units comes after every row that makes or enables one."""

from lxcast.rootfs.fits import boot, engine, folders, init, network, release, ssh, units

FITS = (
    *engine.FITS,
    *release.FITS,
    *folders.FITS,
    *init.FITS,
    *network.FITS,
    *ssh.FITS,
    *boot.FITS,
    *units.FITS,
)
