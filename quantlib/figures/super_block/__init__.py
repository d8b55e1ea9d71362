"""The chapter on super-blocks: its measuring, its words and its pictures, each in a file of its own."""
