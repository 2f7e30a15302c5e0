class Config:
    def __init__(self):
        places = {"latitude": "/{group}/latitude", "longitude": "/{group}/longitude"}
        self.data_source = {"groups": ["gt1l", "gt1r"], "coordinates": places}


def load_config(path):
    return Config()


def get_driver(config):
    return "s3"
