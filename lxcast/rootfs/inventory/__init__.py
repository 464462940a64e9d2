"""The inventory: the packages in a root filesystem, read from its members as they stream by."""

from lxcast.rootfs.inventory.inventory import READERS, Inventory, PackageList
from lxcast.rootfs.inventory.package import Package, Reader, Unread
from lxcast.rootfs.inventory.versions import compare_versions

__all__ = ["READERS", "Inventory", "Package", "PackageList", "Reader", "Unread", "compare_versions"]
