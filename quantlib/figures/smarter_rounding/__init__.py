"""The chapter on smarter rounding: what it measures, concludes and draws, each in files of its own."""
