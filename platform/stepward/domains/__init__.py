"""One wing a domain, with the same rooms in each."""
