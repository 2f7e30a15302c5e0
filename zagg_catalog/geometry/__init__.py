"""Geometry: points, rings and planes, and the HEALPix cells that edges pass through."""
