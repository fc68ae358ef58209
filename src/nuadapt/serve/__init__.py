"""Look at events and ask models: a web page and a service for programs, on this machine unless told otherwise."""
