class H5Dataset:
    def __init__(self, file, path, **options):
        for beam in file.beams:
            places = [beam, f"{beam}/latitude", f"{beam}/longitude"]
            file.pathAddresses.update(dict.fromkeys(places, 0))
        self.meta = self
        self.dimensions = [10]
