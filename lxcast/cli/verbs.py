"""The verbs of the command line: `lxcast --help` is made from this table, without importing a command."""

VERBS = {
    "build": ("Build", "Turn a source into a template and print its id."),
    "repack": ("Build", "Turn old archives into templates next to them."),
    "check": ("Inspect", "Check whether Proxmox would accept and boot FILE."),
    "diff": ("Inspect", "Compare two templates member by member, or their packages."),
    "list": ("Inspect", "List the templates of a storage."),
    "packages": ("Inspect", "List the packages in a template or source."),
    "operations": ("Inspect", "List the cleanup, fit, check and package rows."),
    "publish": ("Publish", "Upload a template to a Proxmox storage and print its id."),
    "prune": ("Publish", "Remove old templates (--apply; else show the plan)."),
    "remove": ("Publish", "Remove templates by id (--apply; else show the plan)."),
    "create": ("Run", "Create a container from a template and verify that it runs."),
    "destroy": ("Run", "Remove a container that lxcast created (--apply; else show it)."),
    "sign": ("Evidence", "Sign a template in a storage."),
    "verify": ("Evidence", "Verify digest, statement and signatures of a template."),
    "promote": ("References", "Move a pin to a version in the storage."),
    "rollback": ("References", "Set a pin file's entry to its previous value."),
    "pin": ("References", "Read and write pins."),
    "cache": ("Setup", "Show and clear the build cache."),
    "doctor": ("Setup", "Check everything that an upload needs."),
    "init": ("Setup", "Create starter files in your repository."),
    "packer": ("Setup", "Install the Packer plugin."),
    "settings": ("Setup", "Show each setting and where it came from."),
}
"""Verb -> the panel of the help that lists it, and its summary. The file of a verb has its name."""

ALIASES = {"ls": "list", "rm": "remove", "upload": "publish"}
