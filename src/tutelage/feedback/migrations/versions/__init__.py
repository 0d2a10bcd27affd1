"""One file for every version of the tables, never changed once it was released."""
