"""The recipes, installed as `audiocodec_recipes`: `codec train NAME` finds them from anywhere."""
