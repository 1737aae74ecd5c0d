"""Shows the programs that end with an error."""
