"""Work queues: hints where work is. One file a broker; none of them is ever the truth."""
