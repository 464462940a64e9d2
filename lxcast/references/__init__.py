"""Pins: the places in HCL and JSON files that name the one template in use."""
