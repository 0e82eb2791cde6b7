"""The demo: four years of real weather arrive as files while FlowStone works, and actors are crashed on purpose."""
