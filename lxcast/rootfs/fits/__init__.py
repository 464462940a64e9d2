"""The table of fits, in the order in which they run.

`init` runs after `network`, which depends on whether an init will be written. `units` runs last because the other rows
create or enable units.
"""

from lxcast.rootfs.fits import boot, directories, engine, init, network, release, ssh, units

FITS = (
    *engine.FITS,
    *release.FITS,
    *directories.FITS,
    *network.FITS,
    *init.FITS,
    *ssh.FITS,
    *boot.FITS,
    *units.FITS,
)
