class Grid:
    def spatial_signature(self):
        return {"type": "healpix"}


def from_config(config):
    return Grid()
