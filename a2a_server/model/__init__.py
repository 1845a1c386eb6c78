"""The vocabulary: A2A objects, stored rows, and what a turn loads and changes. Data only, no rule and no I/O."""
