"""Pins in every kind of file and expression that Terraform, OpenTofu, Terragrunt and Packer read."""

# ruff: noqa: E501 - one line is one configuration

from pathlib import Path

import pytest

from lxcast.references.scan import Found, matches
from lxcast.references.search import find_pins

V1 = "local:vztmpl/web-v1.tar.zst"
TEMPLATE = 'locals {\n  t = "local:vztmpl/web-${%s}.tar.zst"\n}\n'
DECLARED = 'variable "v" {\n  type = string\n}\n' + TEMPLATE % "var.v"
QUERY = 'data "external" "d" {\n  program = ["lxcast-data"]\n  query   = { %s }\n}\n'


def tree(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return directory


def find(directory: Path, files: dict[str, str]) -> list[Found]:
    problems: list[str] = []
    found = find_pins(tree(directory, files), problems.append)
    assert problems == []
    return [each for each in found if each.is_certain]


@pytest.mark.parametrize(
    ("name", "text", "address"),
    [
        ("main.tf", 'locals {\n  t = "%s"\n}\n', "local.t"),
        ("main.tofu", 'locals {\n  t = "%s"\n}\n', "local.t"),
        ("terragrunt.hcl", 'inputs = {\n  t = "%s"\n}\n', "inputs.t"),
        ("main.tf.json", '{"locals": {"t": "%s"}}', "local.t"),
        ("main.tofu.json", '{"locals": [{"t": "%s"}]}', "local.t"),
        ("main.tftest.hcl", 'variables {\n  t = "%s"\n}\n', "variables.t"),
        ("tests/a.tftest.hcl", 'run "a" {\n  variables {\n    t = "%s"\n  }\n}\n', "run.a.variables.t"),
        ("a.tfmock.hcl", 'mock_resource "a" {\n  defaults = {\n    t = "%s"\n  }\n}\n', "mock_resource.a.defaults.t"),
        ("a.pkr.hcl", 'source "docker" "d" {\n  image = "%s"\n}\n', "source.docker.d.image"),
        ("a.pkr.json", '{"source": {"docker": {"d": {"image": "%s"}}}}', "source.docker.d.image"),
        ("a.tfvars", 't = "%s"\n', "t"),
        ("a.tfvars.json", '{"t": {"a": ["%s"]}}', "t.a[0]"),
        ("a.auto.pkrvars.json", '{"t": "%s"}', "t"),
        ("bom.tf", '\ufefflocals {\r\n  t = "%s"\r\n}\r\n', "local.t"),
        ("list.tf", 'locals {\n  t = { a = ["x", { b = "%s" }] }\n}\n', "local.t.a[1].b"),
        ("heredoc.tf", "locals {\n  t = <<-EOT\n    id: %s\n    EOT  \n}\n", "local.t"),
        ("call.tf", 'locals {\n  t = yamldecode(f("a", "%s"))\n}\n', "local.t"),
        ("condition.tf", 'locals {\n  t = var.x ? "%s" : null\n}\n', "local.t"),
        ("computed.tf", 'locals {\n  t = { (var.x) = "%s" }\n}\n', "local.t"),
        ("nested.tf", 'resource "a" "b" {\n  os {\n    t = "%s"\n  }\n}\n', "resource.a.b.os.t"),
        ("names.tf", 'locals {\n  größe = /* id */ "%s"\n}\n', "local.größe"),
        ("argument.tf", 'module "m" {\n  source = "git::https://example.test/m"\n  t      = "%s"\n}\n', "module.m.t"),
        ("type.tf", 'variable "v" {\n  type = object({ t = optional(string, "%s") })\n}\n', "variable.v.type"),
    ],
)
def test_a_template_id_is_seen_in_every_kind_of_file(name: str, text: str, address: str, tmp_path: Path) -> None:
    (found,) = find(tmp_path, {name: text % V1})
    assert (found.file, found.template, found.address) == (tmp_path / name, V1, address)


@pytest.mark.parametrize(
    ("files", "address"),
    [
        ({"a.tf": TEMPLATE % "local.v" + 'locals {\n  v = "v1"\n}\n'}, "local.v"),
        ({"a.tf": 'variable "v" {\n  default = "v1"\n}\n' + TEMPLATE % "var.v"}, "variable.v.default"),
        ({"a.tf": DECLARED, "x.tfvars": 'v = "v1"\n'}, "v"),
        ({"a.tf": DECLARED, "x.tfvars.json": '{"v": "v1"}'}, "v"),
        ({"cfg/a.tf": DECLARED, "values/x.tfvars": 'v = "v1"\n'}, "v"),
        ({"a.tf": DECLARED, "tests/a.tftest.hcl": 'variables {\n  v = "v1"\n}\n'}, "variables.v"),
        (
            {"a.tf": 'variable "o" {\n  type = object({ v = optional(string, "v1") })\n  default = {}\n}\n' + TEMPLATE % "var.o.v"},
            "variable.o.type",
        ),
        ({"a.tf": TEMPLATE % "local.m[var.env]" + 'locals {\n  m = { prod = "v1" }\n}\n'}, "local.m.prod"),
        ({"a.tf": TEMPLATE % 'lookup(local.m, "prod", "v1")' + "locals {\n  m = {}\n}\n"}, "local.t"),
        ({"a.tf": 'locals {\n  t = format("local:vztmpl/web-%s.tar.zst", local.v)\n  v = "v1"\n}\n'}, "local.v"),
        ({"a.tf": 'locals {\n  t = join("", ["local:vztmpl/web-", local.v, ".tar.zst"])\n  v = "v1"\n}\n'}, "local.v"),
        ({"a.tf": 'locals {\n  t = replace("local:vztmpl/web-@.tar.zst", "@", "v1")\n}\n'}, "local.t"),
        ({"a.tf": 'locals {\n  t = [for v in ["v1"] : "local:vztmpl/web-${v}.tar.zst"]\n}\n'}, "local.t[0]"),
        ({"a.tf": 'locals {\n  t = { for k, v in { a = "v1" } : k => "local:vztmpl/web-${v}.tar.zst" }\n}\n'}, "local.t.a"),
        ({"a.tf": TEMPLATE % 'jsondecode(file("${path.module}/v.json")).v', "v.json": '{"v": "v1"}'}, "v"),
        (
            {"a.tf": 'resource "a" "b" {\n  for_each = { x = { v = "v1" } }\n  t = "local:vztmpl/web-${each.value.v}.tar.zst"\n}\n'},
            "resource.a.b.for_each.x.v",
        ),
        (
            {"a.tf": 'resource "a" "b" {\n  for_each = toset(["v1"])\n  t = "local:vztmpl/web-${each.key}.tar.zst"\n}\n'},
            "resource.a.b.for_each[0]",
        ),
        (
            {"a.tf": 'resource "a" "b" {\n  dynamic "os" {\n    for_each = ["v1"]\n    content {\n      t = "local:vztmpl/web-${os.value}.tar.zst"\n    }\n  }\n}\n'},
            "resource.a.b.dynamic.os.for_each[0]",
        ),
        (
            {"a.tf": 'module "w" {\n  source = "./m"\n  v      = "v1"\n}\n', "m/a.tf": DECLARED},
            "module.w.v",
        ),
        (
            {"a.tf": 'module "w" {\n  source   = "./m"\n  for_each = { a = "v1" }\n  v        = each.value\n}\n', "m/a.tf": DECLARED},
            "module.w.for_each.a",
        ),
        (
            {
                "a.tf": 'module "w" {\n  source = "./m"\n}\n' + TEMPLATE % "module.w.v",
                "m/a.tf": 'output "v" {\n  value = "v1"\n}\n',
            },
            "output.v.value",
        ),
        (
            {"live/terragrunt.hcl": 'terraform {\n  source = "../m"\n}\ninputs = {\n  v = "v1"\n}\n', "m/a.tf": DECLARED},
            "inputs.v",
        ),
        (
            {"a.tf.json": '{"resource": {"a": {"b": {"for_each": "${toset([local.v])}", "t": "local:vztmpl/web-${each.key}.tar.zst"}}}, "locals": {"v": "v1"}}'},
            "local.v",
        ),
        (
            {"a.tf": 'variable "c" {}\nresource "a" "b" {\n  for_each = { for x in var.c : x.n => x if x.on }\n  t = "local:vztmpl/web-${merge(local.d, each.value).v}.tar.zst"\n}\nlocals {\n  d = {}\n}\n',
             "x.tfvars": 'c = [{ n = "a", on = true, v = "v1" }]\n'},
            "c[0].v",
        ),
        (
            {"a.tf": 'resource "a" "b" {\n  count = 1\n  t = "local:vztmpl/web-${local.l[count.index]}.tar.zst"\n}\nlocals {\n  l = ["v1"]\n}\n'},
            "local.l[0]",
        ),
        ({"a.pkr.hcl": 'local "v" {\n  expression = "v1"\n}\n' + TEMPLATE % "local.v"}, "local.v"),
        ({"a.tf": TEMPLATE % "local.v", "b.tf.json": '{"locals": {"v": "v1"}}'}, "local.v"),
        ({"a.tf.json": '{"locals": {"v": "v1", "t": "local:vztmpl/web-${local.v}.tar.zst"}}'}, "local.v"),
    ],
)  # fmt: skip
def test_an_id_that_is_put_together_leads_to_its_version(files: dict[str, str], address: str, tmp_path: Path) -> None:
    exact = [each for each in find(tmp_path, files) if each.is_exact]
    assert [(each.template, each.address, each.value) for each in exact] == [
        (V1, address, exact[0].value if "type" in address or address == "local.t" else "v1")
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"a.tf": QUERY % 'name = "web", version = "v1"'},
        {"a.tf": QUERY % 'name = local.n, version = local.v' + 'locals {\n  n = "web"\n  v = "v1"\n}\n'},
        {"a.tf": 'module "t" {\n  source           = "git::https://example.test/x//hcl/terraform/lxc-template?ref=v9"\n  name             = "web"\n  template_version = "v1"\n}\n'},
        {"a.tf": 'module "t" {\n  source           = "./lxc-template"\n  name             = "web"\n  template_version = "v1"\n}\n',
         "lxc-template/a.tf": 'variable "name" {}\nvariable "template_version" {\n  default = null\n}\n'
         'data "external" "t" {\n  program = ["lxcast-data"]\n  query = { for k, v in { name = var.name, version = var.template_version } : k => v if v != null }\n}\n'
         'locals {\n  id = "local:vztmpl/${data.external.t.result.file}"\n}\n'},
    ],
)  # fmt: skip
def test_a_query_of_the_data_source_names_a_template(files: dict[str, str], tmp_path: Path) -> None:
    assert [each.template for each in find(tmp_path, files)] == ["web-v1"]


def test_every_value_that_files_may_set_a_variable_to_counts(tmp_path: Path) -> None:
    files = {
        "a.tf": DECLARED,
        "prod.tfvars": 'v = "v1"\n',
        "stage.tfvars": 'v = "v2"\n',
        "env/dev.tfvars": 'v = "v3"\n',
    }
    found = find(tmp_path, files)
    assert sorted(each.template[-10:-8] for each in found) == ["v1", "v2", "v3"]
    assert {each.file.name for each in found} == {"prod.tfvars", "stage.tfvars", "dev.tfvars"}


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        ({"a.tf": DECLARED}, "local:vztmpl/web-*.tar.zst"),
        ({"a.tf": TEMPLATE % "data.http.v.body"}, "local:vztmpl/web-*.tar.zst"),
        ({"a.tf": TEMPLATE % 'yamldecode(file("v.yaml")).v'}, "local:vztmpl/web-*.tar.zst"),
        ({"a.tf": TEMPLATE % "terraform.workspace"}, "local:vztmpl/web-*.tar.zst"),
        ({"a.tf": 'locals {\n  t = "local:vztmpl/${var.file}"\n}\n'}, "local:vztmpl/*"),
        ({"a.tf": 'locals {\n  f = "web-${var.v}.tar.zst"\n}\n'}, "web-*.tar.zst"),
        ({"a.tf": QUERY % 'name = "web"'}, "web-*"),
        ({"a.tf": QUERY % 'name = "web", version = var.v'}, "web-*"),
        ({"values/x.tfvars": 'template_version = "v1"\n'}, "*-v1"),
        ({"a.tf": 'module "m" {\n  source           = "example/m/x"\n  template_version = "v1"\n}\n'}, "*-v1"),
    ],
)
def test_an_unresolved_value_may_name_every_template_of_a_pattern(
    files: dict[str, str], pattern: str, tmp_path: Path
) -> None:
    (found,) = find(tmp_path, files)
    assert (found.template, found.is_exact) == (pattern, False)
    assert matches(found, "web-v1.tar.zst", "web", "v1")
    assert matches(found, "other-v2.tar.zst", "other", "v2") == (pattern == "local:vztmpl/*")


def test_an_unused_version_may_be_that_of_a_file_that_includes_it(tmp_path: Path) -> None:
    found = find_pins(tree(tmp_path, {"env.hcl": 'locals {\n  web = "v1"\n}\n'}), lambda _: None)
    assert [(each.template, each.address) for each in found] == [("*-v1", "local.web")]


@pytest.mark.parametrize(
    "text",
    [
        'variable "v" {\n  description = "such as local:vztmpl/web-v1.tar.zst"\n}\n',
        'variable "v" {\n  validation {\n    condition     = var.v != ""\n    error_message = "local:vztmpl/web-v1.tar.zst"\n  }\n}\n',
        'resource "a" "b" {\n  provisioner "local-exec" {\n    command = "rm web-v1.tar.zst"\n  }\n}\n',
        '# local:vztmpl/web-v1.tar.zst\nlocals {\n  a = 1\n}\n',
        'locals {\n  a = "v1"\n  b = "api/${local.a}"\n}\n',
    ],
)  # fmt: skip
def test_prose_and_commands_are_not_pins(text: str, tmp_path: Path) -> None:
    assert find(tmp_path, {"a.tf": text}) == []


def test_links_are_followed_once_and_never_upwards(tmp_path: Path) -> None:
    tree(tmp_path, {"shared/a.tf": TEMPLATE % '"v1"', "env/b.tf": "locals {\n  a = 1\n}\n"})
    (tmp_path / "env" / "shared").symlink_to("../shared")
    (tmp_path / "env" / "up").symlink_to("..")
    assert [each.template for each in find_pins(tmp_path / "env", lambda _: None)] == [V1]


def test_a_configuration_that_calls_itself_comes_to_an_end(tmp_path: Path) -> None:
    files = {
        "a.tf": 'module "m" {\n  source = "./."\n  v      = "${local.a}"\n}\nlocals {\n  a = local.b\n  b = local.a\n}\n'
        'locals {\n  t = "local:vztmpl/web-${local.a}.tar.zst"\n}\n'
    }
    assert {each.template for each in find(tmp_path, files)} == {"local:vztmpl/web-*.tar.zst"}


def test_a_file_that_cannot_be_read_is_reported_if_it_may_hold_a_pin(tmp_path: Path) -> None:
    problems: list[str] = []
    find_pins(tree(tmp_path, {"a.tf": f'locals {{\n  t = "{V1}\n}}\n', "b.hcl": "{{ template }}\n"}), problems.append)
    assert [problem.partition(": ")[0] for problem in problems] == [f"{tmp_path}/a.tf:2:35"]


@pytest.mark.parametrize(
    ("files", "templates"),
    [
        (
            {
                "a.tf": 'resource "a" "b" {\n  for_each = { "1" = "x", "2" = "y" }\n  t = "local:vztmpl/web-v${each.key}.tar.zst"\n}\n'
            },
            ["web-v1.tar.zst", "web-v2.tar.zst"],
        ),
        (
            {"a.tf": 'resource "a" "b" {\n  for_each = {}\n  t = "local:vztmpl/web-${each.key}.tar.zst"\n}\n'},
            ["web-*.tar.zst"],
        ),
        (
            {
                "a.tf": 'locals {\n  l = flatten([for k, c in { a = { vs = ["v1"] } } : [for v in c.vs : { v = v }]])\n}\nresource "a" "b" {\n  for_each = { for x in local.l : x.v => x }\n  t = "local:vztmpl/web-${each.value.v}.tar.zst"\n}\n'
            },
            ["web-v1.tar.zst"],
        ),
        (
            {"a.tf": 'locals {\n  v = "v1"\n}\n' + TEMPLATE % "local.v", "a_override.tf": 'locals {\n  v = "v2"\n}\n'},
            ["web-v2.tar.zst"],
        ),
        ({"a.tf": TEMPLATE % "local.o.missing" + "locals {\n  o = {}\n}\n"}, ["web-*.tar.zst"]),
        (
            {
                "terragrunt.hcl": 'terraform {\n  source = "git::https://example.test/m"\n}\ninputs = {\n  template_version = "v1"\n}\n'
            },
            ["*-v1"],
        ),
    ],
)
def test_a_value_is_never_taken_for_known_without_being_so(
    files: dict[str, str], templates: list[str], tmp_path: Path
) -> None:
    assert sorted(each.template.rpartition("/")[2] for each in find(tmp_path, files)) == templates


@pytest.mark.parametrize("source", [".", "../live", "./"])
def test_a_terragrunt_file_that_runs_its_own_directory_comes_to_an_end(source: str, tmp_path: Path) -> None:
    file = f'terraform {{\n  source = "{source}"\n}}\ninputs = {{\n  t = "{V1}"\n}}\n'
    assert [each.template for each in find(tmp_path, {"live/terragrunt.hcl": file})] == [V1]
    again = find(tmp_path, {"live/main.tf": 'variable "t" {}\nlocals {\n  x = var.t\n}\n'})
    assert [(each.template, each.address) for each in again] == [(V1, "inputs.t")]


def test_a_search_of_too_many_instances_keeps_everything(tmp_path: Path) -> None:
    keys = ", ".join(f'"k{number}"' for number in range(90))
    files = {
        f"{name}/a.tf": f'module "m" {{\n  source   = "../{inner}"\n  for_each = toset([{keys}])\n}}\n'
        for name, inner in ("ab", "bc", "cd")
    }
    found = find(tmp_path, files | {"d/a.tf": TEMPLATE % '"v1"'})
    assert {each.template for each in found} == {"*", V1}
    assert all(matches(each, "x-v7.tar.zst", "x", "v7") for each in found if each.template == "*")
