"""Where tasks are kept: each module is one implementation of `ports.TaskStore`, with its helpers named after it."""
