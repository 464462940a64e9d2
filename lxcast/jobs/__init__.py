"""What the commands do. Only jobs put the other layers together."""
