"""Resources: what assets need besides values, set up once, looked after, and torn down."""
