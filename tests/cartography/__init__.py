"""Maps: projection, coastline, graticule, paths, colours."""
