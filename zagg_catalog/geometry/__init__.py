"""Geometry of points, rings and planes, and the HEALPix cells along edges."""
