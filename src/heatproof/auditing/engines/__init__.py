"""Where blocks are computed. An engine hands the missing rows of blocks to workers, here or elsewhere."""
