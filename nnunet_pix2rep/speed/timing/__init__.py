"""How time and memory are taken, contestant against contestant, and how long the command itself may take."""
