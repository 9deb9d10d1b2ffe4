"""What a run needs and produces, found out before it starts: `codec train --check`."""
