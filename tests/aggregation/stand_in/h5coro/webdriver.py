class HTTPDriver:
    pass
