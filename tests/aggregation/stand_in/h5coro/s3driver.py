class S3Driver:
    pass
