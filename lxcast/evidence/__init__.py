"""Evidence about a template: bill of materials, provenance statement, signatures, and their verification."""
