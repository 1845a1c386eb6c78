"""What can be asked for. Knows no wire and no HTTP; the wires' requests come in as model objects."""
