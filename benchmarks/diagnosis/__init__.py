"""Small networks, healthy and broken in known ways, on which the diagnosis is judged."""
