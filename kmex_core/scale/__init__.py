"""Past one machine's memory: embeddings in parts on disk, and the functions of the other rooms mapped over them."""
