"""Containers: what they are created with, and how that is written for each tool."""
