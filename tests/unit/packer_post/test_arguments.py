"""Messages of the command line, in the words of a template; the table that Packer and the reference page are told."""

from lxcast.settings import SETTINGS
from packer_post.arguments import ATTRIBUTES, as_arguments


def test_options_are_named_as_arguments_and_commands_stay_commands() -> None:
    assert as_arguments("--if-changed and --name x: --no-such") == "if_changed and template_name x: --no-such"
    assert as_arguments("pass it: --allow no-shell=REASON") == 'pass it: allow = { no-shell = "REASON" }'
    kept = "the template was saved, publish it with: lxcast publish x.tar.zst --storage proxmox:a/b"
    assert as_arguments(f"--storage is full\n{kept}") == f"storage is full\n{kept}"


def test_every_setting_is_an_argument_with_a_description() -> None:
    named = {each.name: each for each in ATTRIBUTES}
    assert {row.name for row in SETTINGS} <= named.keys()
    assert [each.name for each in ATTRIBUTES if each.required] == ["template_name"]
    assert all(each.description for each in ATTRIBUTES)
    # Packer takes these for itself (hcl2template/types.build.post-processor.go): the plugin would never see them.
    assert not {"name", "only", "except", "keep_input_artifact"} & named.keys()
