"""The recipes, installed as `audiocodec_recipes` so that `codec train NAME` finds them anywhere."""
