def get_edl_token():
    return "token"
