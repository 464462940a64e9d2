"""Container images at rest: which layers an image has, and what they are together."""
