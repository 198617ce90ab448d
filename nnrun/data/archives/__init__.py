"""Published files: found, downloaded, verified; .npz archives read without trust."""
