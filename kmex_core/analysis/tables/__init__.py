"""Every table that pages and the command line offer, a function each: results in, a pandas table out. No torch."""
