"""Ways to make relevance maps; a file with a subclass of `RelevanceMethod` adds one."""
