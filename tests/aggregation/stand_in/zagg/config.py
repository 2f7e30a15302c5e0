class Config:
    data_source = {
        "groups": ["gt1l", "gt1r"],
        "coordinates": {"latitude": "/{group}/latitude", "longitude": "/{group}/longitude"},
    }


def load_config(path):
    return Config()


def get_driver(config):
    return "s3"
