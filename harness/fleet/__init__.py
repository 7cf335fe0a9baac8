"""Many processes on one database: who is alive, who works on what, and the fence between them."""
