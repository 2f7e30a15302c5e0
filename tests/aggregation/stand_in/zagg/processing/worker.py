class Reader:
    """Reads ten values of a beam, unless the name of the granule has `noise`."""

    def __init__(self, config):
        pass

    def read_group(self, file, beam, data_source, shard, grid):
        if beam not in file.beams or "noise" in file.resource:
            raise TypeError("object of type 'NoneType' has no len()")
        return 10


def index_from_config(config):
    return Reader(config)
