"""Documents printed freely: forms, bills, letters, lists and tables in an open vocabulary."""
