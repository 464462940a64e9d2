"""The inventory: the packages in a root filesystem, read from its members as they stream by."""

from lxcast.model import Package
from lxcast.rootfs.inventory.inventory import READERS, Inventory, PackageList
from lxcast.rootfs.inventory.package import Reader, Unread
from lxcast.rootfs.inventory.versions import compare_versions

__all__ = ["READERS", "Inventory", "Package", "PackageList", "Reader", "Unread", "compare_versions"]
