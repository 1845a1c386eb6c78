"""How the protocol generations spell requests and answers: pure codecs between JSON and the model, no I/O."""
