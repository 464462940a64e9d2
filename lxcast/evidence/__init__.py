"""What vouches for a template: provenance statement, signatures, and their verification."""
