"""ICESat-2 granule catalogs and shard maps for the zagg aggregator."""
