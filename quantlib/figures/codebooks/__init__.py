"""The chapter on codebooks: what it measures, what it concludes and what it draws, each in files of their own."""
