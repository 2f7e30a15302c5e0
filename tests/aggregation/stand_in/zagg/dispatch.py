BENIGN_ERRORS = ("No granules found", "No data after filtering")
