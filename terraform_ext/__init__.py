"""The program of Terraform's data "external": a query on standard input, a template's record on standard output."""
