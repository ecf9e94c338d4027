"""Rivers: networks on a grid, and how water runs down them."""
