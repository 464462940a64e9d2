from lxcast.rootfs.survey import Survey
from lxcast.tar.member import DIR, LNK, REG, Member, directory, regular, symlink


def survey_of(*members: Member, reads: tuple[str, ...] = ()) -> Survey:
    survey = Survey(reads=reads)
    for member in members:
        survey.see(member)
    return survey


def test_links_resolve_as_in_a_chroot_and_as_on_the_node() -> None:
    survey = survey_of(
        directory(b"usr"),
        directory(b"usr/lib"),
        regular(b"usr/lib/os-release", b"ID=debian\n"),
        directory(b"etc"),
        symlink(b"etc/os-release", b"../usr/lib/os-release"),
        symlink(b"etc/absolute", b"/usr/lib/os-release"),
        symlink(b"lib", b"usr/lib"),
        symlink(b"loop", b"loop"),
        symlink(b"gone", b"nowhere"),
        symlink(b"up", b"../../../etc"),
        reads=("usr/lib/os-release",),
    )
    assert survey.resolve(b"etc/os-release") == b"usr/lib/os-release"
    assert survey.resolve(b"lib/os-release") == b"usr/lib/os-release"
    assert survey.resolve(b"up/absolute") == b"usr/lib/os-release"
    assert survey.resolve(b"loop") is None
    assert survey.resolve(b"gone") is None
    assert survey.resolve_from_host(b"etc/os-release") == b"usr/lib/os-release"
    assert survey.resolve_from_host(b"etc/absolute") is None
    assert survey.resolve_from_host(b"up/os-release") is None
    assert survey.text(b"etc/absolute") == "ID=debian\n"
    assert survey.text(b"etc") is None


def test_what_rules_ask_for_is_kept() -> None:
    survey = survey_of(
        directory(b""),
        Member(b"big", REG, 0o600, uid=70000, gid=5, size=3, mtime=-7, body=b"abc"),
        regular(b"bin/sh", b"#!/bin/true -x\n", mode=0o755),
        Member(b"bin/ash", LNK, 0o755, link=b"bin/sh"),
        Member(b"early", LNK, link=b"late"),
        regular(b"late", b""),
        regular(b"late", b"12345"),
    )
    assert survey.type(b"") == DIR
    assert survey.type(b"none") is None
    assert survey.owner(b"big") == (0o600, 70000, 5)
    assert survey.mtime(b"big") == -7
    assert survey.big_ids == [(b"big", 70000, 5)]
    assert survey.executables[b"bin/sh"].head == b"#!/bin/true -x\n"
    assert survey.hard_links == {b"bin/ash": b"bin/sh", b"early": b"late"}
    assert survey.quirks.forward_links == [b"early"]
    assert survey.quirks.repeated == [b"late"]
    assert survey.members == 6


def test_an_executable_is_found_through_links_of_both_kinds() -> None:
    survey = survey_of(
        directory(b"bin"),
        regular(b"bin/bash", b"\x7fELF", 0o755),
        Member(b"bin/rbash", LNK, link=b"bin/bash"),
        symlink(b"bin/sh", b"/bin/rbash"),
        regular(b"bin/data", b"\x7fELF"),
    )
    found = survey.executable(b"bin/sh")
    assert found is not None
    assert found.head == b"\x7fELF"
    assert survey.executable(b"bin/data") is None
    assert survey.executable(b"bin/gone") is None


def test_paths_are_found_by_a_part_of_them_and_never_across_two() -> None:
    names = [b"etc/%d" % number for number in range(10_000)]
    survey = survey_of(*(regular(name, b"") for name in names))
    assert survey.paths_with(b"c/99") == [name for name in names if name.startswith(b"etc/99")]
    assert survey.paths_with(b"1etc") == []


def test_a_link_to_a_hard_link_has_the_content_of_the_file() -> None:
    links = [Member(b"b", LNK, link=b"a"), Member(b"c", LNK, link=b"b"), symlink(b"init", b"c")]
    survey = survey_of(regular(b"a", b"\x7fELF", 0o755), *links)
    assert survey.hard_links == {b"b": b"a", b"c": b"a"}
    assert survey.executable(b"init") is not None
    assert survey.quirks.forward_links == []
