"""Places for templates: list, claim, put, record."""
